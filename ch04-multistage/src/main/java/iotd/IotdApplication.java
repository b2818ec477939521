package iotd;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** Image of the day: {@code GET /image} tells where NASA's picture of the day is. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class IotdApplication {

    public static void main(String[] args) {
        SpringApplication.run(IotdApplication.class, args);
    }
}
