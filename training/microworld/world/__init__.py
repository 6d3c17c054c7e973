"""The world itself: pictures, requests, hazards, drawings and sentences."""
