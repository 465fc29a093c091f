"""Programs that run as processes of their own, to be killed or to hold mounts of their own."""
