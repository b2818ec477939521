"""Crops photos around their center or their largest face and sends original and crop to the gallery."""
