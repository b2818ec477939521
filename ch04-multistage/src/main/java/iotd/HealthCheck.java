package iotd;

import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URI;

/**
 * What HEALTHCHECK runs in the images: exits 0 if the service answers 200, else 1.
 * An image with a Java runtime needs no curl for that.
 */
public final class HealthCheck {

    private static final int TIMEOUT_MILLIS = 3000;

    /** Asks the address in the first argument; without one, this container's own readiness. */
    public static void main(String[] args) {
        var port = System.getenv().getOrDefault("SERVER_PORT", "80");
        var url = args.length > 0 ? args[0] : "http://localhost:" + port + "/actuator/health/readiness";
        try {
            var connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
            connection.setConnectTimeout(TIMEOUT_MILLIS);
            connection.setReadTimeout(TIMEOUT_MILLIS);
            System.out.println(url + " answers " + connection.getResponseCode());
            System.exit(connection.getResponseCode() == 200 ? 0 : 1);
        } catch (IOException e) {
            System.out.println(url + ": " + e.getMessage());
            System.exit(1);
        }
    }
}
