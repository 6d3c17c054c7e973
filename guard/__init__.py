"""The rewriter, and what every other part needs: records, roles, images, files, errors.

Nothing in here imports another of the seven folders.
"""
