"""Chapter 5's gallery as people see it: in a real browser, in a container beside the server's."""
import json

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.support.gallery import Gallery, picture
from tests.support.images import until

SITE = "http://gallery:8080"
DESKTOP, PHONE = (1280, 900), (390, 844)


class Browser:
    """A browser window. Every page is shown in a size and a color scheme, and its complaints are collected."""

    def __init__(self, driver):
        self.driver = driver

    def devtools(self, command, **parameters):
        """Send a command of the Chrome DevTools protocol; return its result."""
        return self.driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})["value"]

    def log(self, kind):
        """Return and forget what the browser has logged: "browser" (the console) or "performance" (requests)."""
        return self.driver.execute("getLog", {"type": kind})["value"]

    def look(self, path="/", size=DESKTOP, scheme="light"):
        """Show a page."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1,
                      mobile=size == PHONE)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}])
        self.driver.get(SITE + path)
        return self

    def js(self, script, *arguments):
        """Run JavaScript in the page; return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def press(self, *keys):
        """Type into whatever has the focus, as at a keyboard."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def names(self):
        """The names of the photos on the page, as shown."""
        return [element.text for element in self.all(".card h2")]


@pytest.fixture(scope="module")
def driver(image, network, start_shared):
    container = start_shared(image("test-browser"), network=network, ports=(9515,), shm_size="512m", init=True,
                             wait=LogMessageWaitStrategy("was started successfully"))
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(9515)}"
    driver = webdriver.Remote(url, options=options)
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver):
    """A browser that has forgotten the test before."""
    browser = Browser(driver)
    browser.driver.get("about:blank")
    for kind in ("browser", "performance"):
        browser.log(kind)
    return browser


@pytest.fixture(scope="module")
def gallery(image, network, start_shared):
    """A gallery of 60 photos for tests that only look; the newest four are of their own."""
    gallery = Gallery(start_shared, image("ch05-server"), network=network, alias="gallery")
    gallery.upload(name="first.png")
    gallery.multiply(56)
    for number, size in enumerate([(800, 600), (600, 900), (1600, 500), (300, 300)]):
        original = picture(*size, seed=number)
        edge = min(size)
        answer = gallery.upload(original, picture(240, 240, seed=number), name=f"photo {number}.png", size="240x240",
                                mode="face" if number % 2 else "center", note="A note" if number == 2 else "",
                                box=json.dumps([size[0] - edge, 0, size[0], edge]))
        assert answer.status_code == 201, answer.text
    return gallery


@pytest.fixture
def fresh(image, start, network):
    """An empty gallery of the test's own; `SITE` is another host then."""
    gallery = Gallery(start, image("ch05-server"), network=network, alias="fresh")
    return gallery


def test_pictures_really_load_and_nothing_complains(gallery, browser):
    for path in ("/", gallery.json()["photos"][0]["url"]):
        browser.look(path)
        for picture_ in browser.all("img"):
            browser.js("arguments[0].scrollIntoView()", picture_)
            until(lambda: browser.js("return arguments[0].complete && arguments[0].naturalWidth > 0", picture_),
                  message=f"{picture_.get_attribute('src')} did not load")
    assert browser.log("browser") == []
    asked = [message["params"]["request"]["url"] for message in
             (json.loads(entry["message"])["message"] for entry in browser.log("performance"))
             if message["method"] == "Network.requestWillBeSent"]
    assert any("/original" in url for url in asked)
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {"gallery:8080"}, "it asks another host"


def test_pictures_below_are_loaded_late_and_small(gallery, browser):
    browser.look()
    until(lambda: browser.js("return document.images[0].complete"), message="the first picture did not load")
    assert not browser.js("return [...document.images].at(-1).complete"), "all pictures load at once"
    photos = {photo["name"]: photo for photo in gallery.json()["photos"]}
    width = browser.js("return document.querySelector('img[alt=\"Original of photo 2.png\"]').naturalWidth")
    assert width == 640 < photos["photo 2.png"]["original"]["width"]


@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("place", ["gallery", "photo"])
def test_the_frame_is_where_the_crop_was(gallery, browser, place, number):
    photo = gallery.json()["photos"][3 - number]
    browser.look("/" if place == "gallery" else photo["url"])
    found = browser.js("""
        const image = document.querySelector(`img[alt="Original of ${arguments[0]}"]`);
        image.scrollIntoView();
        const around = image.getBoundingClientRect(), frame = image.parentNode.querySelector(".line").getBoundingClientRect();
        return [around.x, around.y, around.width, around.height, frame.x, frame.y, frame.width, frame.height];
    """, photo["name"])
    (x, y, width, height), frame = found[:4], found[4:]
    # The picture is as large as fits, in the middle.
    scale = min(width / photo["original"]["width"], height / photo["original"]["height"])
    x += (width - scale * photo["original"]["width"]) / 2
    y += (height - scale * photo["original"]["height"]) / 2
    left, top, right, bottom = photo["box"]
    expected = [x + scale * left, y + scale * top, scale * (right - left), scale * (bottom - top)]
    assert frame == pytest.approx(expected, abs=1)


def test_the_photo_page_tells_all(gallery, browser):
    photo = gallery.json()["photos"][1]
    browser.look(photo["url"])
    assert browser.one("h1").text == photo["name"]
    assert browser.one(".note").text == "A note"
    details = browser.one(".details").text
    for fact in ("Mode\ncenter", "1600 × 500", "500 × 500 at 1100, 0", "240 × 240", "UTC", photo["id"][:20]):
        assert fact in details
    frame = browser.one(".crop-frame")
    assert frame.is_displayed()
    browser.one("#frame").click()
    assert not frame.is_displayed()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_it_fits_the_window(gallery, browser, size):
    for path in ("/", gallery.json()["photos"][1]["url"], "/nowhere"):
        browser.look(path, size)
        assert browser.js("return document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
    browser.look("/", size)
    cards = browser.js("return [...document.querySelectorAll('.card')].map(card => card.getBoundingClientRect().x)")
    assert len(set(cards)) == (1 if size == PHONE else 2)
    # Original and crop are side by side, on a phone too.
    original, crop = (browser.one(f".card .{which}").rect for which in ("original", "cropped"))
    assert original["y"] == crop["y"] and original["height"] == pytest.approx(crop["height"], abs=1)
    assert crop["x"] >= original["x"] + original["width"]


CONTRAST = """
    const parse = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const ground = (element) => {
        for (; element; element = element.parentElement) {
            const color = parse(getComputedStyle(element).backgroundColor);
            if (color[3] !== 0) return color;
        }
    };
    const texts = [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.closest("svg, .skip, .unseen, [aria-hidden]")
        && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
    return texts.map(e => {
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
        return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 80)];
    });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(gallery, browser, scheme):
    for path in ("/", gallery.json()["photos"][1]["url"], "/nowhere"):
        browser.look(path, scheme=scheme)
        ground = browser.js("return getComputedStyle(document.body).backgroundColor")
        brightness = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(",")))
        assert brightness < 150 if scheme == "dark" else brightness > 600
        texts = browser.js(CONTRAST)
        assert len(texts) > 2
        assert [text for text in texts if text[0] < 4.5] == []  # WCAG 2, level AA


def test_it_can_be_used_by_keyboard_alone(gallery, browser):
    browser.look()
    photos = gallery.json()["photos"]
    browser.press(Keys.TAB)
    focused = browser.driver.switch_to.active_element
    assert focused.text == "Skip to the photos" and focused.rect["y"] >= 0
    browser.press(Keys.ENTER, Keys.TAB)  # past the header
    focused = browser.driver.switch_to.active_element
    assert focused.text == photos[0]["name"]
    assert browser.js("return getComputedStyle(document.querySelector('.card:focus-within')).outlineStyle") == "solid"
    browser.press(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == photos[1]["name"]  # one stop for each photo
    browser.press(Keys.ENTER)
    until(lambda: browser.one("h1").text == photos[1]["name"], message="Enter did not open the photo")
    browser.press(Keys.ARROW_RIGHT)
    until(lambda: browser.one("h1").text == photos[2]["name"], message="the arrow did not go to the older photo")
    browser.press(Keys.ARROW_LEFT)
    until(lambda: browser.one("h1").text == photos[1]["name"], message="the arrow did not go to the newer photo")
    browser.press(Keys.ESCAPE)
    until(lambda: len(browser.all(".card")) == 24, message="Escape did not go back to the gallery")
    browser.press(Keys.ARROW_RIGHT)
    until(lambda: "25 to 48 of 60" in browser.one(".headline").text, message="the arrow did not turn the page")


def test_a_screen_reader_finds_its_way(gallery, browser):
    browser.look()
    tree = [node for node in browser.devtools("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]

    def names(role):
        return [node["name"]["value"] for node in tree if node["role"]["value"] == role]

    photos = [photo["name"] for photo in gallery.json()["photos"]]
    assert len(names("main")) == len(names("banner")) == 1
    assert names("heading") == ["Photos and their crops", *photos]
    links = names("link")
    assert [name for name in links if name in photos] == photos
    assert all(names("link")) and all(names("image")) and "" not in names("button")
    assert names("image") == [f"{which} of {name}" for name in photos for which in ("Original", "Crop")]
    assert names("navigation") == ["Pages"]
    assert len(names("listitem")) == 24
    assert len(names("status")) == 1


def test_pages_are_turned(gallery, browser):
    seen = []
    browser.look()
    while True:
        seen += browser.js("return [...document.querySelectorAll('.card')].map(card => card.id)")
        following = browser.all(".pager [rel=next]")
        if not following:
            break
        before = browser.driver.current_url
        following[0].click()
        until(lambda: browser.driver.current_url != before, message="the page was not turned")
    assert seen == [f"photo-{photo['id'][:16]}" for photo in sum(
        (gallery.json(f"/?before={before}")["photos"] for before in (61, 37, 13)), [])]


def test_a_name_full_of_html_is_only_a_name(fresh, browser):
    name = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\u202efdp.png'.replace("/", "")
    url = fresh.upload(name=name, note="<b>bold</b>" + "long" * 100).json()["url"]
    for path in ("/", url):
        browser.driver.get("http://fresh:8080" + path)
        assert browser.js("return window.hacked") is None
        assert len(browser.all("script")) == 1 and not browser.all("main b")
        assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.one("h1").text == name
    # And if something slipped through one day: the browser itself would not run it.
    browser.js("document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))")
    assert browser.js("return window.hacked") is None
    assert "Content Security Policy" in browser.log("browser")[-1]["message"]


def test_new_photos_appear_without_a_reload(fresh, browser):
    browser.driver.get("http://fresh:8080/")
    assert "No photos yet" in browser.one("main").text and "docker compose up" in browser.one("main").text
    browser.js("window.never_left = true")
    fresh.upload(name="one.png")
    until(lambda: browser.names() == ["one.png"], message="the photo did not appear")
    assert "No photos yet" not in browser.one("main").text
    browser.one(".card a").send_keys("")  # the focus stays where it is
    fresh.upload(name="two.png")
    fresh.upload(name="three.png")
    until(lambda: browser.names() == ["three.png", "two.png", "one.png"], message="the photos did not appear")
    assert browser.driver.switch_to.active_element.text == "one.png"
    assert browser.one("[role=status]").get_attribute("textContent").endswith(("1 new photo", "2 new photos"))
    assert "3 photos" in browser.one(".headline").text
    assert browser.one(".card time").text == "just now"

    # Whoever has scrolled down is not disturbed, but told.
    browser.js("document.activeElement.blur()")
    for number in range(22):
        fresh.upload(name=f"{number}.png")
    until(lambda: len(browser.all(".card")) == 24 and browser.all(".pager [rel=next]"), message="the page is not full")
    browser.js("window.scrollTo(0, 1500)")
    place = browser.one("#sheet").rect["y"], browser.names()
    fresh.upload(name="late.png")
    until(lambda: browser.one("#arrivals").is_displayed(), message="nothing tells of the new photo")
    assert (browser.one("#sheet").rect["y"], browser.names()) == place
    browser.one("#arrivals").click()
    assert browser.names()[0] == "late.png" and len(browser.all(".card")) == 24
    assert browser.js("return window.scrollY") == 0
    assert browser.js("return window.never_left")


def test_it_tells_when_the_server_is_away_and_finds_it_again(fresh, browser):
    browser.driver.get("http://fresh:8080/")
    until(lambda: browser.one("#live").text == "Live", message="it does not say that it is live")
    container = fresh.container.get_wrapped_container()
    container.kill()
    until(lambda: "does not answer" in browser.one("#live").text, 20, message="it does not tell that the server is away")
    container.start()
    fresh.locate()
    until(lambda: browser.one("#live").text == "Live", 30, message="it does not find the server again")
    fresh.upload(name="after.png")
    until(lambda: browser.names() == ["after.png"], 30, message="the photo did not appear")


def test_it_works_without_javascript(gallery, browser):
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.look()
        assert len(browser.all(".card")) == 24
        assert browser.one(".card time").text.endswith("UTC")
        assert not browser.one("#live").is_displayed()
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
