package iotd.apod;

import java.time.Duration;

/** NASA gave no picture. The message may be shown to anyone: it never holds the API key. */
public class ApodException extends RuntimeException {

    private final Duration retryAfter;

    /** @param retryAfter how long NASA should be left alone */
    public ApodException(String message, Duration retryAfter) {
        // No stack trace: one exception is kept and given to every caller until retryAfter is over.
        super(message, null, false, false);
        this.retryAfter = retryAfter;
    }

    public Duration retryAfter() {
        return retryAfter;
    }
}
