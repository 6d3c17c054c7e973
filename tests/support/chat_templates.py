"""Chat templates like those of the architectures in checkpoints.py."""

CHATML_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{%- for part in message['content'] -%}\
{%- if part['type'] == 'image' -%}IMAGE_MARK\
{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}\
{%- endfor -%}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""

LLAVA_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] != 'system' %}{{ message['role'] | upper }}: {% endif -%}
{%- if message['content'] is string %}{{ message['content'] }}{% else %}\
{%- for part in message['content'] if part['type'] == 'image' -%}<image>
{% endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}\
{% endif %}{{ '</s>' if message['role'] == 'assistant' else ' ' }}
{%- endfor -%}
{%- if add_generation_prompt -%}ASSISTANT:{% endif -%}
"""

IDEFICS_TEMPLATE = """\
<|im_start|>{% for message in messages -%}
{{ message['role'] | capitalize }}: {% if message['content'] is string %}{{ message['content'] }}\
{% else %}{%- for part in message['content'] -%}\
{%- if part['type'] == 'image' -%}<image>\
{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}\
{%- endfor -%}{% endif %}<end_of_utterance>
{% endfor -%}
{%- if add_generation_prompt -%}Assistant:{% endif -%}
"""

GEMMA_TEMPLATE = """\
{{ bos_token }}
{%- set ns = namespace(lead='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set text = message['content'] -%}
{%- set ns.lead = text if text is string else text[0]['text'] -%}
{%- else -%}
<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}
{% if ns.lead %}{{ ns.lead }}

{% set ns.lead = '' %}{% endif -%}
{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}\
{%- for part in message['content'] -%}\
{%- if part['type'] == 'image' -%}<start_of_image>\
{%- elif part['type'] == 'text' -%}{{ part['text'] | trim }}{%- endif -%}\
{%- endfor -%}{% endif %}<end_of_turn>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<start_of_turn>model
{% endif -%}
"""
