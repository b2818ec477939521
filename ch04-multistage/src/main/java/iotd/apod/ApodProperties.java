package iotd.apod;

import java.net.URI;
import java.time.Duration;

import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.source.InvalidConfigurationPropertyValueException;
import org.springframework.util.StringUtils;

/**
 * How NASA's service is used; application.properties says what each setting means.
 * A wrong value stops the start, with a message that names the variable.
 */
@ConfigurationProperties("apod")
public record ApodProperties(URI url, String key, Duration timeout, Duration cacheTime, Duration retryTime) {

    public ApodProperties {
        require(url.getHost() != null && ("http".equals(url.getScheme()) || "https".equals(url.getScheme())),
                "apod.url", url, "APOD_URL must be an address such as https://api.nasa.gov/planetary/apod");
        require(StringUtils.hasText(key), "apod.key", key, "APOD_KEY is empty; leave it out to use DEMO_KEY");
        require(isPositive(timeout), "apod.timeout", timeout, "APOD_TIMEOUT must be longer than 0, such as 5s");
        require(isPositive(cacheTime), "apod.cache-time", cacheTime,
                "APOD_CACHE_TIME must be longer than 0, such as 1h");
        require(isPositive(retryTime), "apod.retry-time", retryTime,
                "APOD_RETRY_TIME must be longer than 0, such as 10s");
    }

    private static boolean isPositive(Duration duration) {
        return duration.isPositive();
    }

    private static void require(boolean holds, String name, Object value, String otherwise) {
        if (!holds) {
            throw new InvalidConfigurationPropertyValueException(name, value, otherwise);
        }
    }

    /** Without the key: settings may end up in a log. */
    @Override
    public String toString() {
        return "apod.url=%s, apod.timeout=%s, apod.cache-time=%s, apod.retry-time=%s"
                .formatted(url, timeout, cacheTime, retryTime);
    }
}
