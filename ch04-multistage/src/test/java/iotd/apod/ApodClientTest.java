package iotd.apod;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.springframework.test.web.client.match.MockRestRequestMatchers.header;
import static org.springframework.test.web.client.match.MockRestRequestMatchers.requestTo;
import static org.springframework.test.web.client.response.MockRestResponseCreators.withException;
import static org.springframework.test.web.client.response.MockRestResponseCreators.withStatus;
import static org.springframework.test.web.client.response.MockRestResponseCreators.withSuccess;

import java.io.IOException;
import java.net.URI;
import java.time.Duration;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.test.web.client.MockRestServiceServer;
import org.springframework.test.web.client.ResponseCreator;
import org.springframework.web.client.RestClient;

import tools.jackson.databind.json.JsonMapper;

class ApodClientTest {

    private static final String KEY = "a-secret-key";

    private final RestClient.Builder rest = RestClient.builder();
    private final MockRestServiceServer nasa = MockRestServiceServer.bindTo(rest).build();
    private final ApodClient client = new ApodClient(new ApodProperties(URI.create("http://nasa/apod"), KEY,
            Duration.ofSeconds(1), Duration.ofHours(1), Duration.ofSeconds(10)), rest, new JsonMapper());

    private void answer(ResponseCreator answer) {
        nasa.expect(requestTo("http://nasa/apod?thumbs=true")).andExpect(header("X-Api-Key", KEY)).andRespond(answer);
    }

    @Test
    void aPictureOnOneLine() {
        answer(withSuccess("""
                {"media_type": "image", "url": "https://nasa/m31.jpg", "hdurl": "https://nasa/big.jpg",
                 "title": "Andromeda", "copyright": "\\nAda\\nLovelace\\n", "service_version": "v1"}""",
                MediaType.APPLICATION_JSON));
        assertThat(client.fetch()).isEqualTo(new Picture("https://nasa/m31.jpg", "Andromeda", "Ada Lovelace"));
    }

    @Test
    void aVideoGivesItsThumbnailAndNobodyOwnsIt() {
        answer(withSuccess("""
                {"media_type": "video", "url": "https://video/embed/1", "title": "Launch",
                 "thumbnail_url": "https://video/1.jpg"}""", MediaType.APPLICATION_JSON));
        assertThat(client.fetch()).isEqualTo(new Picture("https://video/1.jpg", "Launch", null));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "<html>Welcome to the hotel's Wi-Fi</html>", "", "null", "[]", "{}", "{\"url\": 7}", "{\"url\": \"ftp://a/b\"}",
        "{\"url\": \"javascript:alert(1)\"}", "{\"media_type\": \"video\", \"url\": \"https://v/1\"}"})
    void nonsenseIsNoPicture(String body) {
        answer(withSuccess(body, MediaType.APPLICATION_JSON));
        assertThatThrownBy(client::fetch).isInstanceOf(ApodException.class).hasMessageStartingWith("NASA's picture service");
    }

    @ParameterizedTest
    @CsvSource({"60, 60", "1, 10", "999999, 3600", "soon, 10", "'Wed, 21 Oct 2026 07:28:00 GMT', 10", ", 10"})
    void aRefusalSaysHowLongToWait(String header, long seconds) {
        var headers = new HttpHeaders();
        if (header != null) {
            headers.set(HttpHeaders.RETRY_AFTER, header);
        }
        answer(withStatus(HttpStatus.TOO_MANY_REQUESTS).headers(headers));
        assertThatThrownBy(client::fetch).isInstanceOfSatisfying(ApodException.class, e -> {
            assertThat(e).hasMessage("NASA's picture service answered with status 429.");
            assertThat(e.retryAfter()).hasSeconds(seconds);
        });
    }

    @Test
    void noAnswerIsNoPicture() {
        answer(withException(new IOException("connection reset, key=" + KEY)));
        assertThatThrownBy(client::fetch).isInstanceOf(ApodException.class)
                .hasMessage("NASA's picture service does not answer.").hasNoCause();
    }
}
