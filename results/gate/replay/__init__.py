"""The gate on recorded traffic: what does a new guard decide otherwise than the old one?"""
