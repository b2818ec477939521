package iotd.image;

import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.ProblemDetail;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

import iotd.apod.ApodException;
import iotd.apod.Picture;

/** {@code GET /image}: the picture of the day as JSON. */
@RestController
class ImageController {

    private final ImageService images;

    ImageController(ImageService images) {
        this.images = images;
    }

    /** 200 with the picture; the header Age (RFC 9111) tells for how many seconds it has been kept. */
    @GetMapping("/image")
    ResponseEntity<Picture> image() {
        var served = images.today();
        return ResponseEntity.ok()
                .header(HttpHeaders.AGE, Long.toString(served.age().toSeconds()))
                .body(served.picture());
    }

    /** 503 as problem+json, with Retry-After in seconds, rounded up, when there is no picture to serve. */
    @ExceptionHandler
    ResponseEntity<ProblemDetail> noPicture(ApodException e) {
        var problem = ProblemDetail.forStatusAndDetail(HttpStatus.SERVICE_UNAVAILABLE, e.getMessage());
        problem.setTitle("No picture of the day yet");
        return ResponseEntity.of(problem)
                .header(HttpHeaders.RETRY_AFTER, Long.toString(e.retryAfter().plusMillis(999).toSeconds()))
                .build();
    }
}
