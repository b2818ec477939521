"""A gallery of photos and their crops: takes them in over HTTP and shows them side by side.

Nothing is imported here, since the health check, which runs twice a minute, needs next to nothing.
"""
