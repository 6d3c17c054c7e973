"""The guard in front of a product: a proxy and a gateway hook around any defense.

Layer by layer: `json_text` (bytes), `dialects/` (what a body says), `guarding` (the defense),
`upstream` (the product's model), `proxy` and `gateway` (the endpoints), `app` (all together).
Nothing imports it but the command line, when a command runs, and `vlmguard.integrations`.
"""
