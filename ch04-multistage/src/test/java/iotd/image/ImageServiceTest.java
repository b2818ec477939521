package iotd.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.URI;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;

import org.junit.jupiter.api.Test;

import iotd.apod.ApodException;
import iotd.apod.ApodProperties;
import iotd.apod.Picture;

class ImageServiceTest {

    private static final Picture FIRST = new Picture("https://nasa/1.jpg", "First", null);
    private static final Picture SECOND = new Picture("https://nasa/2.jpg", "Second", null);
    private static final ApodException DOWN = new ApodException("down", Duration.ofSeconds(30));

    /** What NASA says, one after the other; the last one over and over. */
    private List<Supplier<Picture>> answers;
    private final AtomicInteger calls = new AtomicInteger();
    private long now;
    private final ImageService service = new ImageService(
            () -> answers.get(Math.min(calls.getAndIncrement(), answers.size() - 1)).get(),
            new ApodProperties(URI.create("https://nasa/"), "key", Duration.ofSeconds(1), Duration.ofMinutes(60),
                    Duration.ofSeconds(10)),
            () -> now);

    private static Picture down() {
        throw DOWN;
    }

    private void pass(Duration time) {
        now += time.toNanos();
    }

    @Test
    void nasaIsAskedOnceInTheCacheTime() {
        answers = List.of(() -> FIRST, () -> SECOND);
        assertThat(service.today()).isEqualTo(new ImageService.Served(FIRST, Duration.ZERO));
        pass(Duration.ofMinutes(59));
        assertThat(service.today()).isEqualTo(new ImageService.Served(FIRST, Duration.ofMinutes(59)));
        pass(Duration.ofMinutes(2));
        assertThat(service.today()).isEqualTo(new ImageService.Served(SECOND, Duration.ZERO));
    }

    @Test
    void nasaIsAskedOnceHoweverManyAskAtOnce() throws Exception {
        answers = List.of(() -> {
            LockSupport.parkNanos(Duration.ofMillis(50).toNanos());
            return FIRST;
        });
        try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
            for (var answer : threads.invokeAll(Collections.nCopies(50, (Callable<?>) service::today))) {
                assertThat(answer.get()).extracting("picture").isEqualTo(FIRST);
            }
        }
        assertThat(calls).hasValue(1);
    }

    @Test
    void theLastPictureIsServedWhileNasaIsDown() {
        answers = List.of(() -> FIRST, ImageServiceTest::down, () -> SECOND);
        service.today();
        pass(Duration.ofHours(2));
        assertThat(service.today()).isEqualTo(new ImageService.Served(FIRST, Duration.ofHours(2)));
        pass(Duration.ofSeconds(29));
        service.today();
        assertThat(calls).hasValue(2);
        pass(Duration.ofSeconds(2));
        assertThat(service.today().picture()).isEqualTo(SECOND);
    }

    @Test
    void withoutAnyPictureTheFailureIsKept() {
        answers = List.of(ImageServiceTest::down, () -> FIRST);
        assertThatThrownBy(service::today).isSameAs(DOWN);
        assertThatThrownBy(service::today).isSameAs(DOWN);
        assertThat(calls).hasValue(1);
        pass(Duration.ofSeconds(31));
        assertThat(service.today().picture()).isEqualTo(FIRST);
    }
}
