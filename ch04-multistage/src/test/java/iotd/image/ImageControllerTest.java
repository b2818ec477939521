package iotd.image;

import static org.springframework.test.web.servlet.request.MockMvcRequestBuilders.get;
import static org.springframework.test.web.servlet.result.MockMvcResultMatchers.content;
import static org.springframework.test.web.servlet.result.MockMvcResultMatchers.header;
import static org.springframework.test.web.servlet.result.MockMvcResultMatchers.status;
import static org.springframework.test.web.servlet.setup.MockMvcBuilders.standaloneSetup;

import java.net.URI;
import java.time.Duration;
import java.util.function.Supplier;

import org.junit.jupiter.api.Test;
import org.springframework.test.json.JsonCompareMode;
import org.springframework.test.web.servlet.MockMvc;

import iotd.apod.ApodException;
import iotd.apod.ApodProperties;
import iotd.apod.Picture;

/** The web layer alone: HTTP in, HTTP out, and no server between. */
class ImageControllerTest {

    private long now;

    private MockMvc web(Supplier<Picture> nasa) {
        return standaloneSetup(new ImageController(new ImageService(nasa, new ApodProperties(URI.create("https://nasa/"),
                "key", Duration.ofSeconds(1), Duration.ofMinutes(60), Duration.ofSeconds(10)), () -> now))).build();
    }

    @Test
    void thePictureAsJsonWithItsAge() throws Exception {
        var web = web(() -> new Picture("https://nasa/1.jpg", "First", null));
        web.perform(get("/image")).andExpect(header().string("Age", "0"));
        now += Duration.ofMillis(61_900).toNanos();
        web.perform(get("/image")).andExpect(status().isOk()).andExpect(header().string("Age", "61"))
                .andExpect(content().json("""
                        {"url": "https://nasa/1.jpg", "caption": "First", "copyright": null}""", JsonCompareMode.STRICT));
    }

    @Test
    void noPictureIsAProblem() throws Exception {
        web(() -> {
            throw new ApodException("NASA is asleep.", Duration.ofSeconds(30));
        }).perform(get("/image")).andExpect(status().isServiceUnavailable())
                .andExpect(header().string("Retry-After", "30"))
                .andExpect(content().contentType("application/problem+json"))
                .andExpect(content().json("""
                        {"title": "No picture of the day yet", "detail": "NASA is asleep.", "status": 503,
                         "instance": "/image"}""", JsonCompareMode.STRICT));
    }
}
