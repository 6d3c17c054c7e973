"""The guard inside other people's processes: a LiteLLM gateway, a LangChain agent.

Each module imports its carrier, which vlmguard does not install: `pip install 'vlmguard[litellm]'`
or `'vlmguard[langchain]'`. Nothing imports them but their users. Both work with what the server
works with (guard/serving): the same dialects, the same rules for images, the same `on_failure`.
"""
