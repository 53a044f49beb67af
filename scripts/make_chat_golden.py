#!/usr/bin/env python3
"""Writes what Jinja2, set up as `transformers` 4.57 does it, makes of chat templates and conversations.

    pip install jinja2==3.1.6
    scripts/make_chat_golden.py > crates/clinical-chat/tests/data/golden.json

The templates are written for this file, in the manner of published ones. A rendering that raises is `null`.
"""

import json
import sys
from datetime import datetime

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime(2024, 7, 6, 14, 5, 9)


class Generation(Extension):
    """`{% generation %}`, without the tracker of `transformers`."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _support(self, context, caller):
        return caller()


def compiled(source):
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = NOW.strftime
    return environment.from_string(source)


SPECIALS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
}

TOOL = {
    "type": "function",
    "function": {
        "name": "dose",
        "description": "Finds a drug's usual dose <mg> & 'route'",
        "parameters": {
            "type": "object",
            "properties": {
                "drug": {"type": "string", "description": "name"},
                "age": {"type": ["integer", "null"], "enum": [1, 2.5, None, True]},
            },
            "required": ["drug"],
        },
    },
}

CONTEXTS = {
    "user": {"messages": [{"role": "user", "content": " Why was she admitted?\n"}]},
    "system": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "It's <b>\"fever\"</b> & a 'chill' {{ x }} é 😀\u2028"},
        ]
    },
    "turns": {
        "messages": [
            {"role": "system", "content": "  You read notes.  "},
            {"role": "user", "content": "First?"},
            {"role": "assistant", "content": "<think>well</think>\n\nYes."},
            {"role": "user", "content": "Second?"},
        ]
    },
    "tools": {
        "messages": [
            {"role": "user", "content": "What dose?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a1", "type": "function",
                     "function": {"name": "dose", "arguments": {"zeta": 1, "drug": "x", "age": 2.0}}}
                ],
            },
            {"role": "tool", "name": "dose", "content": "5 mg", "tool_call_id": "a1"},
        ],
        "tools": [TOOL],
    },
    "documents": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Read "}, {"type": "text", "text": "this."}]}],
        "documents": [{"title": "Note", "text": "Fever."}, {"title": "Lab", "text": "CRP 3,5"}],
        "add_generation_prompt": False,
    },
}

CHAT_STYLES = {
    "chatml": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful assistant.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + (message['content'] if message['content'] is string else '') + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    "chatml lines": """{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content|string + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content or '' %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' ~ content ~ '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "llama 3": """{% set loop_messages = messages %}
{% for message in loop_messages %}
{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ (message['content'] | string | trim) + '<|eot_id|>' %}
{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}
{{ content }}
{% endfor %}
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}
""",
    "llama 3.1": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("no first user message") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | string | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {%- for arg_name, arg_val in tool_call.arguments | items %}
            {{- arg_name + '="' ~ arg_val ~ '"' }}
            {%- if not loop.last %}{{- ", " }}{%- endif %}
        {%- endfor %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "mistral": """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}""",
    "mistral tools": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}{{ ns.index }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " ~ message["content"] ~ "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {{- ', "id": "' + tool_call.id + '"}' }}
        {%- endfor %}
        {{- "]" ~ eos_token }}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
""",
    "gemma": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}""",
    "gemma 3": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {{ '<start_of_turn>' + message['role'] + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
""",
    "zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' ~ message['content'] ~ eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  ~ message['content'] ~ eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    "vicuna": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set loop_messages = messages[1:] %}{% else %}{% set system = 'A chat.' %}{% set loop_messages = messages %}{% endif %}{{ system | trim }} {% for m in loop_messages %}{% if m['role'] == 'user' %}USER: {{ m['content'] }} {% else %}ASSISTANT: {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}""",
    "deepseek": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' ~ message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + eos_token}}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{'<|tool|>' + message['content']}}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|><think>\\n'}}{% endif %}""",
    "granite": """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "Knowledge Cutoff Date: April 2024.\nToday's Date: " + strftime_now('%B %d, %Y') + "." %}
    {%- if tools and documents %}
        {%- set system_message = system_message + " both" %}
    {%- elif tools %}
        {%- set system_message = system_message + " tools" %}
    {%- elif documents %}
        {%- set system_message = system_message + " documents" %}
    {%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' }}
{%- if documents %}
    {{- '<|start_of_role|>documents<|end_of_role|>' }}
    {%- for document in documents %}
        {{- 'Document ' + loop.index0 | string + '\n' }}
        {{- document['title'] + ': ' + document['text'] }}
        {%- if not loop.last %}{{- '\n\n'}}{%- endif%}
    {%- endfor %}
    {{- '<|end_of_text|>\n' }}
{%- endif %}
{%- for message in loop_messages %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' ~ message['content'] ~ '<|end_of_text|>\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant' }}
        {%- if controls %}{{- ' ' + controls | tojson()}}{%- endif %}
        {{- '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}""",
    "command r": """{{ bos_token }}{%- macro document_turn(documents) -%}
{# the documents as one result #}
<results>
{% for doc in documents %}
Document: {{ loop.index0 }}
{% for key, val in doc|items %}
{{ key }}: {{ val|string }}
{% endfor %}
{% endfor %}
</results>
{%- endmacro %}
{%- macro json_type(spec) -%}
  {%- if spec.type is string -%}{{ spec.type }}
  {%- elif spec.type is iterable -%}{{ spec.type | join(' | ') }}
  {%- else -%}any{%- endif -%}
{%- endmacro %}
{%- if documents is not none and documents is iterable and documents|length > 0 %}{{ document_turn(documents) }}{% endif %}
{%- for tool in tools or [] %}
def {{ tool.function.name }}({% for name, spec in tool.function.parameters.properties.items() %}{{ name }}: {{ json_type(spec) }}{% if not loop.last %}, {% endif %}{% endfor %}):
    \"\"\"{{ tool.function.description }}\"\"\"
{% endfor %}
{%- for message in messages %}
{%- generation %}{{ message.role|capitalize }}: {{ message.content }}{% endgeneration %}

{% endfor %}""",
    "generation": """{% for message in messages %}
  {% if message.role == 'assistant' %}
<|assistant|>
    {% generation %}
{{ message.content }}{{ eos_token }}
    {% endgeneration %}
  {% else %}
<|{{ message.role }}|>
{{ message.content }}
  {% endif %}
{% endfor %}
{%- generation -%}  x  {%- endgeneration -%}
{%+ if true %}  kept{% endif %}
""",
    "qwen reversed": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and not(message.content is string and message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {{- 'A:<think>' + reasoning_content.strip('\\n') + '</think>' + content.lstrip('\\n') }}
        {%- else %}
            {{- 'A:' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- 'tools' }}{%- endif %}
        {{- content }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- 'end' }}{%- endif %}
    {%- else %}
        {{- message.role + ': ' + content }}
    {%- endif %}
{%- endfor %}
{%- if tools %}{{- "# Tools\\n" }}{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}{%- endif %}
""",
}

# Each for one context of names: a list of expressions or whole templates.
EXPRESSIONS = """
none
true
false
[none, true, 1, 1.0, 'a', "it's", 'q"q', 'both \\' and "', 'tab\\tline\\n', 'é\\u2028\\x7f']
{'b': 1, 'a': [1, {'c': none}], 3: 4.5}
(1, 2)
(1,)
()
[]
{}
1.0
1e22
1e16
123456789012345680.0
1e-5
0.0001
1.5e300
-0.0
1/3
7/2
7//2
-7//2
-7 % 3
7.5 // 2
2**10
2**-1
2**0.5
10**20
1 + 1.5
true + 1
'a' * 3
3 * 'ab'
[1, 2] * 2
'%s has %d of %.2f%% %r %5s|%-5s|%05d' % ('x', 3, 4.5, 'q', 'a', 'b', 42)
'%s' % 'one'
'{} and {1}' .format(1)
'{} and {}'.format(1, 'x')
'{0}-{name:>5}|{1:.2f}|{2:,}'.format('a', 2.5, 1234567, name='n')
'a' ~ 1 ~ none ~ true ~ [1, 'x'] ~ 1.0 ~ missing
'abc'[::-1]
''[::-1]
'abc'[1:]
'abc'[:-1]
'abc'[-2:]
'abc'[5:]
'abc'[::2]
'abcdef'[4:1:-1]
'abcdef'[-1:-4:-2]
'abcdef'[10:0:-1]
'abc'[2:1:-1]
'abc'[0:0:-1]
'abc'[:0:-1]
'abc'[-10:10]
'abc'[0]
'abc'[-1]
'abc'[7]
'é😀x'[::-1]
[][::-1]
[1][1:][::-1]
[1, 2, 3][::-1]
[1, 2, 3][5:1:-1]
[1, 2, 3][1:-1]
[1, 2, 3][-1]
[1, 2, 3][9]
[1, 2, 3][1:][0]
([1, 2, 3][1:])|length
(1, 2, 3)[::-1]
()[::-1]
messages[1:][::-1]
messages[1:][::-1]|length
messages[::-1]|length
messages[1:-1][::-1]|list
(messages|length)[::-1]
missing[1:]
none[1:]
5[1:]
missing
missing.x
missing['x']
none.x
none['x']
messages.x
messages[0].x
messages[0].x.y
messages[99]
messages[99].role
messages['role']
'abc'.x
1 .x
tools
tools is none
tools is not none
tools is defined
tools is iterable
tools is sequence
tools is mapping
documents is defined
documents
bos_token is defined
cls_token is defined
pad_token
unk_token
cls_token
additional_special_tokens
additional_special_tokens[1]
strftime_now is defined
raise_exception is defined
strftime_now is callable
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M:%S')
strftime_now('%A %B %-d %j %U %y %I %p %c|%x|%X|%%|%e|%a|%D|%F|%T|%R|%h|%u|%w|%G-W%V|%C|%k|%l|%n|%t')
strftime_now('%f|%z|%Z|%Q|%')
strftime_now('')
strftime_now(1)
strftime_now()
raise_exception('no')
missing is none
missing is defined
missing is undefined
missing is iterable
missing is string
none is defined
none is iterable
1 is iterable
'abc' is iterable
'abc' is sequence
'abc' is mapping
{} is iterable
{} is sequence
{} is mapping
[] is sequence
(1, 2) is sequence
range(3) is sequence
range(3) is iterable
1 is number
true is number
1.0 is number
'1' is number
true is boolean
1 is integer
true is integer
1.0 is float
true is true
1 is true
false is false
0 is false
none is sameas none
1 is sameas 1
'a' is string
'a' is upper
'A' is upper
'a' is lower
1 is odd
2 is even
4 is divisibleby 2
1 is eq 1
1 is lt 2
'a' is in 'abc'
'a' is in ['a']
'x' is not in ['a']
'a' in 'abc'
'content' in messages[0]
'x' in messages[0]
1 in none
none in [none]
'a' in missing
1 in (1, 2)
not 1
not none
not ''
not []
1 and 2
0 or 'x'
none or 'x'
missing or 'x'
'' or missing
1 if true
1 if false
1 if false else 2
1 == 1.0
1 == true
'a' == 'a'
none == none
none == missing
missing == missing
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1}
1 < 2 < 3
1 < 'a'
'a' < 'b'
[1] < [2]
none < 1
1 + 'a'
'a' + 1
'a' + none
none + 'a'
missing + 'a'
[1] + [2]
[1] + (2,)
[1] + 'a'
{} + {}
-'a'
messages|tojson
messages[-1]|tojson
tools|tojson
tools|tojson(indent=2)
{'b': 1, 'a': 2}|tojson
{'b': 1, 'a': [1, 2]}|tojson(sort_keys=true)
{'b': 1, 'a': [1, {'x': []}], 'c': {}}|tojson(indent=2)
{'b': 1, 'a': [1, 2]}|tojson(indent=0)
{'b': 1, 'a': [1, 2]}|tojson(indent='\\t')
{'b': 1, 'a': [1, 2]}|tojson(separators=(',', ':'))
{'b': 1, 'a': [1, 2]}|tojson(indent=1, separators=(' ,', ' : '))
'é😀\\u2028<>&\\'"\\\\/\\x01\\x7f\\b\\f\\n\\r\\t'|tojson
'é😀\\u2028\\x7f'|tojson(ensure_ascii=true)
1.0|tojson
1e22|tojson
1e16|tojson
1e-5|tojson
-0.0|tojson
0.1|tojson
100000.0|tojson
true|tojson
none|tojson
missing|tojson
'a'|tojson
(1, 2)|tojson
{1: 2, true: 3, none: 4, 1.5: 5}|tojson
{(1, 2): 3}|tojson
range(3)|tojson
range(3)|list|tojson
messages|map(attribute='role')|tojson
messages|map(attribute='role')|list|tojson
[1, [2, [3]]]|tojson(2)
{'a': 1}|tojson(false, 2)
namespace(a=1)|tojson
'abc'|length
'é😀'|length
{'a': 1}|length
none|length
5|length
missing|length
messages|length
messages|count
' a b '|trim
'xxaxx'|trim('x')
'\\x1c a \\u200b\\xa0'|trim
' a '.strip() ~ '|'
'\\x1f\\x85 a \\x1c'.strip() ~ '|'
'xxaxx'.strip('x')
'xxaxx'.lstrip('x')
'xxaxx'.rstrip('x')
'a-b-c'.split('-')
'a  b\\tc\\n'.split()
' a  b '.split(' ')
'a-b-c'.split('-', 1)
'a-b-c'.split('-', maxsplit=1)
'a-b-c'.rsplit('-', 1)
'a b c'.rsplit(none, 1)
' a b  c '.split(none, 1)
''.split()
''.split('x')
'abc'.split('')
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('x')
'a\\nb\\r\\nc\\x0bd\\u2028e\\n'.splitlines()
'a\\nb\\n'.splitlines(true)
'a\\rb'.splitlines(keepends=true)
'abcabc'.replace('b', 'X')
'abcabc'.replace('b', 'X', 1)
'abc'.replace('', '-')
'aaa'.replace('a', 'b', -1)
'aaa'.replace('a', 'b', 0)
'aBc'.upper()
'ß'.upper()
'AbC'.lower()
'hello wORLD o\\'neil'.title()
'hello wORLD'.capitalize()
'aBc'.swapcase()
'Straße'.casefold()
'abc'.startswith('a')
'abc'.startswith(('x', 'a'))
'abc'.startswith('b', 1)
'abc'.startswith('c', -1)
'abc'.startswith('')
'abc'.endswith('c')
'abc'.endswith(('x', 'y'))
'abc'.endswith('b', 0, 2)
'abc'.startswith(['a'])
'abcabc'.find('c')
'abcabc'.find('x')
'abcabc'.find('a', 1)
'abcabc'.rfind('a')
'abcabc'.index('b')
'abcabc'.index('x')
'abcabc'.rindex('b')
'abcabc'.count('a')
'aaa'.count('aa')
'abc'.count('')
'abc'.removeprefix('a')
'abc'.removesuffix('c')
'abc'.removesuffix('')
'7'.zfill(3)
'-7'.zfill(4)
'a'.ljust(3) ~ '|'
'a'.rjust(3, '*')
'ab'.center(5, '*')
'ab'.center(4)
'a\\tb'.expandtabs()
'a\\tb'.expandtabs(4)
'1'.isdigit()
'²'.isdigit()
'½'.isnumeric()
'½'.isdecimal()
'a1'.isalnum()
'a'.isalpha()
'é'.isascii()
' '.isspace()
''.isspace()
'a'.islower()
'A1'.isupper()
'Ab C'.istitle()
'a b'.isidentifier()
'ab'.isprintable()
'-'.join(['a', 'b'])
'-'.join(messages|map(attribute='role'))
'-'.join([1])
'-'.join('abc')
'abc'.encode('utf-8')
'abc'.nope()
{'a': 1}.get('a')
{'a': 1}.get('b')
{'a': 1}.get('b', 2)
{'a': 1}.keys()|list
{'b': 1, 'a': 2}.keys()|join(',')
{'b': 1, 'a': 2}.values()|list
{'b': 1, 'a': 2}.items()|list
{'b': 1, 'a': 2}|items|list
{'b': 1, 'a': 2}|dictsort
{'b': 1, 'a': 2}|list
{'b': 1, 'a': 2}.items()
{'a': 1}.copy()
{'a': 1}.update({'b': 2})
{'a': 1}.pop('a')
[1].append(2)
[1, 2, 1].count(1)
[1, 2].index(2)
[1, 2].pop()
[3, 1].copy()
(1, 2, 1).count(1)
messages[0].get('role')
messages[0].get('nope', 'd')
messages[0].items()|list|length
messages[0].keys()|list
[3, 1, 2]|sort
[3, 1, 2]|sort(reverse=true)
['b', 'A', 'c']|sort
['b', 'A', 'c']|sort(case_sensitive=true)
messages|sort(attribute='role')|map(attribute='role')|list
[1, 2, 3]|reverse|list
'abc'|reverse
[1, 2, 3]|first
[]|first
[1, 2, 3]|last
[]|last
[1, 2, 2, 1]|unique|list
[1, 2, 3]|sum
[]|sum
[1, 2, 3]|min
[1, 2, 3]|max
[1, 2, 3]|join
[1, 2, 3]|join(', ')
['a', none, true, 1.0, ['x']]|join('-')
messages|join(', ', attribute='role')
'abc'|join('-')
messages|map(attribute='role')|list
messages|map(attribute='nope')|list
messages|map(attribute='nope', default='d')|list
messages|map('length')|list
['a', 'b']|map('upper')|list
['a', 'b']|map('replace', 'a', 'x')|list
messages|selectattr('role', 'equalto', 'user')|list|length
messages|selectattr('role', 'eq', 'user')|list|length
messages|selectattr('nope')|list|length
messages|selectattr('nope', 'defined')|list|length
messages|rejectattr('role', '==', 'user')|list|length
messages|rejectattr('role', 'in', ['user', 'system'])|list|length
[1, 2, 3]|select('odd')|list
[1, 2, 3]|reject('odd')|list
[0, 1, none]|select|list
[1, 2, 3]|select('>', 1)|list
messages|groupby('role')|map(attribute='grouper')|list
[1, 2, 3, 4, 5]|batch(2)|list
[1, 2, 3, 4, 5]|batch(2, 'x')|list
[1, 2, 3, 4, 5]|slice(2)|list
'abc'|upper
'ABC'|lower
'abc def'|title
'abc DEF'|capitalize
'a<b>&"\\''|escape
'a<b>'|e
'a<b>'|safe
'x'|default('d')
missing|default('d')
none|default('d')
none|default('d', true)
''|d('d', boolean=true)
'abc'|replace('b', 'x')
'abc'|list
'a b'|wordcount
'3'|int
'3.7'|int
'x'|int
'x'|int(7)
3.9|int
'0x1f'|int(0, 16)
none|int
'3.5'|float
'x'|float
3.14159|round(2)
2.5|round
3.5|round
3.2|round(0, 'ceil')
-3|abs
1|string
1.0|string
none|string
true|string
[1, 'a']|string
'abc'|first
'abc'|last
'a\\nb'|indent
'a\\nb'|indent(2)
'a\\n\\nb'|indent(2, true)
'a\\n\\nb'|indent(2, first=true, blank=true)
'%s-%s'|format('a', 1)
'abcdefghij'|truncate(5)
'abc def ghi'|truncate(8, true, '..', 0)
'abcdef'|center(10)
'<b>x</b> y'|striptags
{'a': 1}|attr('a')
messages[0]|attr('role')
'a b&c'|urlencode
{'a': 1}|xmlattr
'abc'|wordwrap(2)
1234567|filesizeformat
'a'|pprint
range(3)|list
range(5, 1, -2)|list
range(3)
range(3)[1]
range(3)|length
dict(a=1, b=2)
dict(a=1).a
dict([('a', 1)])
namespace(a=1).a
namespace(a=1).b
namespace({'a': 1}).a
joiner(',') is callable
cycler('a', 'b') is defined
lipsum is defined
debug is defined
self is defined
loop is defined
'a' 'b'
"a" "b" ~ 'c'
'\\u00e9\\x41\\t|'
1_000
0x1f
0b11
0o17
1.e3
True
False
None
true == True
none is None
1.0 == 1
{'a': 1}['a']
{'a': 1}.a
{'items': 1}['items']
{1: 'x'}[1]
{1: 'x'}[1.0]
{true: 'x'}[1]
[1, 2, 3].1
(messages|first).role
(messages|last)['role']
messages[-1].role
messages[-99].role
messages[-1]['content'] is string
messages[0]['role'] == 'user'
messages[0]['role'] not in ['user', 'system']
'x' if messages[0].role == 'user' else ('y' if tools else 'z')
add_generation_prompt
add_generation_prompt is false
messages is iterable and messages is not mapping
messages[0] is mapping
''.__class__
messages.__class__
''|attr('__class__')
self
5 is divisibleby(0)
1/0
1//0
1 % 0
9223372036854775807 + 1
99999999999999999999
-99999999999999999999
1e400
'abc'|nofilter
'abc' is notest
nofunction()
none()
messages()
'a'()
""".strip().split("\n")

STATEMENTS = {
    "set and for": "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }};{% endfor %}{{ x }}",
    "scope of set in if": "{% if true %}{% set x = 1 %}{% endif %}{{ x }}",
    "namespace": "{% set ns = namespace(n=0, l=[]) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.n }} {{ ns.l }}",
    "set attribute of a dict": "{% set d = {} %}{% set d.x = 1 %}{{ d }}",
    "tuple unpacking": "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }};{% endfor %}{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "nested unpacking": "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "wrong unpacking": "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "for else": "{% for x in [] %}a{% else %}b{% endfor %}",
    "for if": "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ m.role }}{% else %}none{% endfor %}",
    "for over none": "{% for x in none %}a{% endfor %}",
    "for over tools": "{% for x in tools %}{{ x.type }}{% endfor %}",
    "for over undefined": "{% for x in missing %}a{% else %}e{% endfor %}",
    "for over number": "{% for x in 5 %}a{% endfor %}",
    "for over string": "{% for x in 'abé' %}{{ x }}.{% endfor %}",
    "for over dict": "{% for k in {'b': 1, 'a': 2} %}{{ k }}{% endfor %}{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }} {% endfor %}",
    "loop": "{% for x in 'abcd' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('x', 'y') }}{{ loop.changed(x) }}|{% endfor %}",
    "inner loop": "{% for x in [1, 2] %}{% set outer = loop %}{% for y in [3] %}{{ outer.index }}{{ loop.index }}{% endfor %}{% endfor %}",
    "break": "{% for x in range(9) %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "continue": "{% for x in range(5) %}{% if x is odd %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "recursive": "{% for x in [{'n': 1, 'c': [{'n': 2, 'c': []}]}] recursive %}{{ x.n }}{{ loop.depth }}{{ loop(x.c) }}{% endfor %}",
    "macro": "{% macro m(a, b='d', c=none) %}[{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(1, c=3) }}{{ m() }}{{ m.name }}",
    "macro with too many": "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "macro varargs": "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "macro defaults": "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "macro recursion": "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "macro sees globals": "{% set g = 5 %}{% macro m() %}{{ g }}{{ messages|length }}{% endmacro %}{{ m() }}",
    "macro trimmed": "{%- macro m() -%}  x  {%- endmacro -%}[{{ m() }}]",
    "macro result is a string": "{% macro m() %}x{% endmacro %}{{ m() is string }}{{ m() == 'x' }}{{ m()|length }}{{ (m() + 'y')|tojson }}",
    "call": "{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}body{% endcall %}",
    "call with arguments": "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}",
    "filter block": "{% filter upper %}abc{{ 'd' }}{% endfilter %}",
    "filter block with arguments": "{% filter replace('a', 'b') %}aaa{% endfilter %}",
    "set block": "{% set x %}a{{ 1 }}b{% endset %}{{ x }}{{ x is string }}{{ x|length }}",
    "set block with a filter": "{% set x | upper | trim %}  abc {% endset %}[{{ x }}]",
    "with": "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "raw": "{% raw %}{{ x }}{% if %}{% endraw %}{%- raw -%}  y {%- endraw -%} z",
    "comment": "a{# x {{ y }} #}b\n{#- c -#}\n d\n  {# e #}\nf",
    "trim_blocks": "{% if true %}\na\n{% endif %}\nb\n{{ 1 }}\nc\n",
    "lstrip_blocks": "x\n    {% if true %}\n   a\n    {% endif %}\n  {{ 1 }}\n\t{# c #}\ny",
    "lstrip_blocks off": "x\n    {%+ if true %}a{% endif +%}\nb",
    "whitespace control": "a  {%- if true -%}  b  {%- endif -%}  c {{- 1 -}} d \n {{- 2 }}\n\n",
    "trim after comment": "{# c #}\na",
    "trailing newlines": "a\n\n\n",
    "crlf": "a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n",
    "elif": "{% if false %}a{% elif none %}b{% elif 1 %}c{% else %}d{% endif %}",
    "inline if in output": "{{ 'a' if messages else 'b' }}{{ ('x' if false) }}",
    "do": "{% do messages.append(1) %}",
    "include": "{% include 'x' %}",
    "import": "{% import 'x' as y %}",
    "extends": "{% extends 'x' %}",
    "block": "{% block a %}x{% endblock %}",
    "autoescape": "{% autoescape true %}{{ '<' }}{% endautoescape %}",
    "unknown tag": "{% nope %}",
    "unclosed if": "{% if true %}a",
    "unclosed variable": "a {{ b",
    "unclosed comment": "a {# b",
    "stray end": "a {% endif %}",
    "stray brace": "a }} b %} c #} d { } {{ '}}' }}",
    "generation unclosed": "{% generation %}x",
    "generation with inner set": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "generation in for": "{% for m in messages %}{% generation %}{{ loop.index }}{{ m.role }}{% endgeneration %}{% endfor %}",
    "generation with break": "{% for m in messages %}{% generation %}{% if true %}x{% endif %}{% endgeneration %}{% break %}{% endfor %}",
    "generation as a name": "{% set generation = 1 %}{{ generation }}{% generation %}y{% endgeneration %}",
    "generation in raw": "{% raw %}{% generation %}{% endraw %}{{ '{% generation %}' }}{# {% generation %} #}",
    "generation with spaces": "a\n  {%-  generation   -%}\n b \n {%-endgeneration%}\n c\n    {% generation %}\nd\n    {% endgeneration %}\ne",
    "shadowing messages": "{% set messages = messages[1:] %}{{ messages|length }}",
    "shadowing in a loop": "{% for messages in [1] %}{{ messages }}{% endfor %}{{ messages|length }}",
    "loop variable after": "{% for i in [1] %}{% endfor %}{{ i }}{{ loop }}",
    "string with tags": "{{ '{% if %}' }}{{ \"{{ x }}\" }}",
    "multi line expression": "{{\n  'a'\n  ~ 'b'\n}}{% set x = [\n 1,\n 2,\n] %}{{ x }}",
    "trailing comma": "{{ {'a': 1,} }}{{ [1,] }}{{ dict(a=1,) }}",
    "line break in string": "{{ 'a\nb' }}",
    "not in": "{{ 1 not in [2] }}{{ not 1 in [1] }}{{ 1 is not none }}{{ not 1 is none }}",
    "precedence": "{{ 1 + 2 ~ 3 }}{{ 'a' ~ 1 + 2 }}{{ -1 ** 2 }}{{ 2 * 3 ~ 'x' }}{{ 1 ~ 2 == '12' }}{{ -1|abs }}{{ 'a'|upper ~ 'b' }}{{ not true == false }}{{ 'x' ~ 'b'|upper }}",
    "filter on sum": "{{ 'a' + ' b ' | trim + 'c' }}",
    "test binds": "{{ 1 + 1 is even }}{{ 'a' ~ 'b' is string }}{{ not missing is defined }}{{ 1 is odd and 2 is even }}",
    "tests with arguments": "{{ 4 is divisibleby(2) }}{{ 'a' is in ['a'] }}{{ 3 is gt 2 }}{{ 3 is sameas(3) }}",
    "attribute and item": "{% set d = {'get': 1, 'x-y': 2} %}{{ d['x-y'] }}{{ d['get'] }}",
    "splat": "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 1, 'b': 2}) }}",
    "joiner": "{% set j = joiner(', ') %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}",
    "cycler": "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
    "mutation is refused": "{% set l = [] %}{% set _ = l.append(1) %}{{ l }}",
    "unused failing branch": "{% if false %}{{ nofunction() }}{{ none.x.y }}{% endif %}ok",
    "unused unknown filter": "{% if false %}{{ 1|nofilter }}{% endif %}ok",
    "chained methods": "{{ messages[0].content.strip().split(' ')[0].upper() }}",
    "missing in concatenation": "{{ 'a' + missing }}",
    "missing as a condition": "{% if missing %}a{% else %}b{% endif %}{% if missing.x %}c{% endif %}",
    "missing item as a condition": "{% if messages[0].tool_calls %}a{% else %}b{% endif %}{% if messages[0]['tool_calls'] is defined %}c{% endif %}",
    "raise in a branch": "{% if messages|length > 99 %}{{ raise_exception('too many') }}{% endif %}ok",
    "printing loops": "{% for m in messages %}{{ m }}\n{% endfor %}",
    "reversed filter in for": "{% for m in messages|reverse %}{{ m.role }}{% endfor %}{% for m in messages|list|reverse %}{{ loop.index }}{% endfor %}",
    "slices in for": "{% for m in messages[1:] %}{{ m.role }}{{ loop.last }}{% endfor %}{% for m in messages[:-1][::-1] %}{{ loop.length }}{% endfor %}",
    "range in for": "{% for i in range(messages|length - 1, -1, -1) %}{{ i }}{{ messages[i].role }}{% endfor %}",
    "loop.previtem": "{% for m in messages %}{% if loop.previtem is defined and loop.previtem.role == m.role %}same{% endif %}{% if loop.nextitem is undefined %}end{% endif %}{% endfor %}",
    "comparison of roles": "{{ messages|map(attribute='role')|unique|list|length }}{{ 'user' in messages|map(attribute='role') }}",
    "non ascii names": "{% set größe = 1 %}{{ größe }}",
    "html is not escaped": "{{ '<&>\"' }}{{ messages[-1].content }}",
    "nested data": "{% set d = {'a': {'b': [1, {'c': 'x'}]}} %}{{ d.a.b[1].c }}{{ d['a']['b'][0] }}{{ d.a.x.y is defined }}",
    "nested data missing": "{% set d = {'a': 1} %}{{ d.a.x }}{{ d.x }}{{ d.x.y }}",
}


def cases():
    for name, source in CHAT_STYLES.items():
        for context in CONTEXTS:
            yield f"{name}, {context}", source, context
    for expression in EXPRESSIONS:
        needs = "messages" in expression or "tools" in expression
        for context in ["turns", "tools"] if needs else ["user"]:
            yield f"{expression}, {context}", "{{ " + expression + " }}", context
    for name, source in STATEMENTS.items():
        for context in ["turns", "tools"] if "messages" in source or "tools" in source else ["user"]:
            yield f"{name}, {context}", source, context


def main():
    out = []
    for name, source, context in cases():
        variables = {"tools": None, "documents": None, "add_generation_prompt": True, **CONTEXTS[context], **SPECIALS}
        try:
            text = compiled(source).render(**variables)
        except Exception as error:  # whatever a template runs into
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            text = None
        if text is not None and (" at 0x" in text):
            continue
        out.append({"name": name, "template": source, "context": context, "text": text})
    # The contexts as texts: the order of their keys counts.
    contexts = {name: json.dumps(context) for name, context in CONTEXTS.items()}
    golden = {"contexts": contexts, "specials": SPECIALS, "cases": out}
    json.dump(golden, sys.stdout, ensure_ascii=True, indent=1)
    print()


if __name__ == "__main__":
    main()
