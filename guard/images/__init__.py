"""From the bytes of an image file to a picture that every model API accepts."""
