"""Rules for text from models and users: how it is read, and how it is cleaned for another model."""
