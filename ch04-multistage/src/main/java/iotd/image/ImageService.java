package iotd.image;

import java.time.Duration;
import java.util.function.Supplier;

import com.github.benmanes.caffeine.cache.Caffeine;
import com.github.benmanes.caffeine.cache.Expiry;
import com.github.benmanes.caffeine.cache.LoadingCache;
import com.github.benmanes.caffeine.cache.Ticker;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.stereotype.Service;

import iotd.apod.ApodClient;
import iotd.apod.ApodException;
import iotd.apod.ApodProperties;
import iotd.apod.Picture;

/**
 * Keeps the picture of the day, so that NASA is asked once in apod.cache-time however many clients ask.
 * A failure is kept too, for as long as NASA should be left alone; meanwhile the last picture is served.
 */
@Service
class ImageService {

    /** A picture and for how long it has been here. */
    record Served(Picture picture, Duration age) {
    }

    private record Fetched(Picture picture, long at) {
    }

    /** What came of asking NASA: nothing wrong if failure is null. */
    private record Attempt(ApodException failure, Duration validFor) {
    }

    private static final Logger log = LoggerFactory.getLogger(ImageService.class);

    private final Supplier<Picture> nasa;
    private final Duration cacheTime;
    private final Ticker ticker;
    private final LoadingCache<String, Attempt> attempts;
    private volatile Fetched last;

    @Autowired
    ImageService(ApodClient apod, ApodProperties properties) {
        this(apod::fetch, properties, Ticker.systemTicker());
    }

    /** For tests, which bring a NASA and a clock of their own. */
    ImageService(Supplier<Picture> nasa, ApodProperties properties, Ticker ticker) {
        this.nasa = nasa;
        this.cacheTime = properties.cacheTime();
        this.ticker = ticker;
        // The cache calls attempt() for one client and lets the others wait for what it returns.
        this.attempts = Caffeine.newBuilder()
                .ticker(ticker)
                .expireAfter(Expiry.creating((String key, Attempt attempt) -> attempt.validFor()))
                .build(key -> attempt());
    }

    /**
     * The picture of the day; if NASA gives none, the last one it gave.
     *
     * @throws ApodException if it never gave one
     */
    Served today() {
        var attempt = attempts.get("today");
        var fetched = last;
        if (fetched == null) {
            throw attempt.failure();
        }
        return new Served(fetched.picture(), Duration.ofNanos(ticker.read() - fetched.at()));
    }

    private Attempt attempt() {
        try {
            last = new Fetched(nasa.get(), ticker.read());
            return new Attempt(null, cacheTime);
        } catch (ApodException e) {
            log.warn("{} Next try in {} s.", e.getMessage(), e.retryAfter().toSeconds());
            return new Attempt(e, e.retryAfter());
        }
    }
}
