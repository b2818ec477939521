package iotd.apod;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.URI;
import java.time.Duration;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ApodPropertiesTest {

    private static ApodProperties properties(String url, String key, int timeout, int cacheTime, int retryTime) {
        return new ApodProperties(URI.create(url), key, Duration.ofSeconds(timeout),
                Duration.ofSeconds(cacheTime), Duration.ofSeconds(retryTime));
    }

    @ParameterizedTest
    @CsvSource({
        "nasa,          k,   1,  1,  1, APOD_URL",
        "ftp://nasa/a,  k,   1,  1,  1, APOD_URL",
        "https:/apod,   k,   1,  1,  1, APOD_URL",
        "https://nasa/, ' ', 1,  1,  1, APOD_KEY",
        "https://nasa/, k,   0,  1,  1, APOD_TIMEOUT",
        "https://nasa/, k,   1, -1,  1, APOD_CACHE_TIME",
        "https://nasa/, k,   1,  1,  0, APOD_RETRY_TIME"})
    void aWrongValueIsNamed(String url, String key, int timeout, int cacheTime, int retryTime, String variable) {
        assertThatThrownBy(() -> properties(url, key, timeout, cacheTime, retryTime)).hasMessageContaining(variable);
    }

    @Test
    void theKeyIsNotInTheText() {
        assertThat(properties("https://nasa/", "secret", 1, 1, 1)).asString().contains("https://nasa/")
                .doesNotContain("secret");
    }
}
