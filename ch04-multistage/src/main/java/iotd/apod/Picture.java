package iotd.apod;

/**
 * A picture of the day.
 *
 * @param url       http or https address of the picture; for a video, of its thumbnail
 * @param caption   its title
 * @param copyright who owns it; null if NASA names nobody
 */
public record Picture(String url, String caption, String copyright) {
}
