"""Where model files live: locate a URI, fetch it verified, publish what was made. Shared by quantizer and server."""
