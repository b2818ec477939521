package iotd.apod;

import java.io.IOException;
import java.net.URI;
import java.time.Duration;

import org.springframework.http.HttpHeaders;
import org.springframework.http.client.ClientHttpResponse;
import org.springframework.stereotype.Component;
import org.springframework.web.client.ResourceAccessException;
import org.springframework.web.client.RestClient;
import org.springframework.web.util.UriComponentsBuilder;

import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Asks NASA for the picture of the day (https://github.com/nasa/apod-api describes the answers). */
@Component
public class ApodClient {

    /** An answer has about 2 kB; more than this is no answer. */
    private static final int MAX_BYTES = 1 << 20;

    private static final Duration LONGEST_WAIT = Duration.ofHours(1);

    private final ApodProperties properties;
    private final RestClient rest;
    private final JsonMapper json;
    private final URI uri;

    /** The properties come first, so that a wrong one is found before the HTTP client is made with it. */
    ApodClient(ApodProperties properties, RestClient.Builder rest, JsonMapper json) {
        this.properties = properties;
        this.rest = rest.build();
        this.json = json;
        this.uri = UriComponentsBuilder.fromUri(properties.url()).queryParam("thumbs", true).build().toUri();
    }

    /**
     * Makes one call to NASA, which takes no longer than apod.timeout.
     *
     * @throws ApodException if there is no picture in the answer, or no answer
     */
    public Picture fetch() {
        try {
            // The key travels in a header: addresses end up in logs and error messages, headers don't.
            return rest.get().uri(uri).header("X-Api-Key", properties.key())
                    .exchange((request, response) -> read(response));
        } catch (ResourceAccessException e) {
            throw failure("does not answer", null);
        }
    }

    private Picture read(ClientHttpResponse response) throws IOException {
        if (response.getStatusCode().value() != 200) {
            throw failure("answered with status " + response.getStatusCode().value(),
                    response.getHeaders().getFirst(HttpHeaders.RETRY_AFTER));
        }
        var body = response.getBody().readNBytes(MAX_BYTES);
        JsonNode apod;
        try {
            apod = json.readTree(body);
        } catch (JacksonException e) {
            throw failure("answered with something that is not JSON", null);
        }
        var url = apod.path("video".equals(text(apod, "media_type")) ? "thumbnail_url" : "url").asString("");
        if (!url.startsWith("https://") && !url.startsWith("http://")) {
            throw failure("has no picture today", null);
        }
        return new Picture(url, text(apod, "title"), text(apod, "copyright"));
    }

    /** The text of a field, on one line (NASA's have line breaks in them); null if there is none. */
    private static String text(JsonNode node, String field) {
        var text = node.path(field).asString("").strip().replaceAll("\\s+", " ");
        return text.isEmpty() ? null : text;
    }

    /** @param retryAfter the header of that name (RFC 9110), in seconds; a date or nonsense counts as absent */
    private ApodException failure(String what, String retryAfter) {
        var wait = properties.retryTime();
        if (retryAfter != null && retryAfter.matches("\\d{1,9}")) {
            var asked = Duration.ofSeconds(Long.parseLong(retryAfter));
            wait = asked.compareTo(wait) < 0 ? wait : asked.compareTo(LONGEST_WAIT) > 0 ? LONGEST_WAIT : asked;
        }
        return new ApodException("NASA's picture service " + what + ".", wait);
    }
}
