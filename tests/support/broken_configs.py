"""Invalid configurations, and parts of the error that each of them must raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECRET = "s3cr3t"
"""A secret that no error may repeat. It stands in each file that can hold one, or comes from the
variable `SECRET_VALUE`."""

P = "providers: {d: {plugin: deepgram, options: {api_key: s3cr3t-1}}}\n"
"""Valid providers."""
PROVIDERS = {"d": {"plugin": "deepgram", "options": {"api_key": "s3cr3t-1"}}}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@dataclass(frozen=True)
class Broken:
    """An invalid configuration, and parts of its error."""

    content: str | bytes | Mapping[Any, Any]
    parts: tuple[str, ...]
    name: str = "stt.yaml"


def _of_provider(entry: str) -> str:
    return f"providers:\n  d: {entry}\n"


def _yaml(content: str | bytes, *parts: str) -> Broken:
    return Broken(content, parts)


def _toml(content: str | bytes, *parts: str) -> Broken:
    return Broken(content, parts, "stt.toml")


def _dict(content: Mapping[Any, Any], *parts: str) -> Broken:
    return Broken(content, parts)


BROKEN: dict[str, Broken] = {
    # -- files
    "empty": _yaml("", "is empty; it needs providers"),
    "comments-only": _yaml("# nothing\n", "is empty; it needs providers"),
    "null": _yaml("~\n", "is empty"),
    "empty-toml": _toml("", "is empty; it needs providers"),
    "empty-dict": _dict({}, "the configuration is empty"),
    "a-list": _yaml("- d\n", "must be a mapping with the keys providers", "it is a list"),
    "a-word": _yaml("deepgram\n", "must be a mapping", "it is a text"),
    "binary": _yaml(b"providers:\0\1\2", "is a binary file"),
    "latin-1": _yaml(b"# one\n# caf\xe9\n", "line 2", "is not UTF-8; save the file as UTF-8"),
    "utf-16": _yaml(P.encode("utf-16"), "is a binary file"),
    "huge": _yaml(P + "#" * 1_000_001, "is larger than 1 MB"),
    "extension": Broken(P, ("must be a .yaml, .yml or .toml file",), "stt.json"),
    "no-extension": Broken(P, ("must be a .yaml, .yml or .toml file",), "stt"),
    # -- YAML
    "tab": _yaml("providers:\n\td: {plugin: deepgram}\n", "line 2", "a tab; indent YAML with"),
    "unclosed": _yaml(
        "providers: {d: {plugin: deepgram}\nroutes: {}\n", "line 2", "not valid YAML"
    ),
    "unclosed-text": _yaml('providers: "s3cr3t\n', "line 2", "not valid YAML"),
    "bad-indent": _yaml("providers:\n  d:\n    plugin: x\n   e: y\n", "line 4", "not valid YAML"),
    "two-documents": _yaml(f"{P}---\n{P}", "line 2", "a second document ('---')"),
    "unknown-alias": _yaml("providers: *p\n", "line 1", "undefined alias"),
    "control-character": _yaml("a: b\nc: \x07\n", "line 2", "a character that YAML does not allow"),
    "key-twice": _yaml(P + P, "line 2", "the key 'providers' is here twice, first in line 1"),
    "provider-twice": _yaml(
        "providers:\n  d: {plugin: deepgram}\n  d: {plugin: cartesia}\n",
        "line 3: providers.d: the key 'd' is here twice, first in line 2; keep one",
    ),
    "merge-key": _yaml(
        "providers:\n  c: &c {plugin: deepgram}\n  d: {<<: *c}\n",
        "line 3: providers.d: merge keys ('<<') are not supported; write the keys out",
    ),
    "tag": _yaml(
        f"{P}retry: !!python/object:os.system {{}}\n",
        "line 2: retry",
        "tags ('!...') are not supported",
    ),
    "scalar-tag": _yaml(
        P + "retry: {max_concurrent_attempts: !!binary aGk=}\n",
        "retry.max_concurrent_attempts: tags ('!...') are not supported",
    ),
    "variable-unquoted": _yaml(
        _of_provider("{plugin: deepgram, options: {api_key: ${SECRET_VALUE}}}"),
        "line 2: a '{' inside a text; within {...} and [...], put '${VAR}' in quotes",
    ),
    "variable-unquoted-in-a-list": _yaml(
        P + "routes: {default: [${SECRET_VALUE}]}\n", "line 2: a '{' inside a text"
    ),
    "goes-on": _yaml(
        '[providers.d]\nplugin = "deepgram"\n', "line 2: more text follows after the end"
    ),
    "wrong-tag": _yaml(
        P + "retry: {max_concurrent_attempts: !!int three}\n",
        "retry.max_concurrent_attempts: tags ('!...') are not supported",
    ),
    "half-a-surrogate": _yaml(P + '"\\ud800": {}\n', "line 2: a key must be a text, not"),
    "list-as-key": _yaml(P + "? [a]\n: b\n", "line 2", "a key must be a name, not a list"),
    "deep": _yaml(P + "routes: " + "[" * 5000, "line 2", "nested more than 20 levels deep"),
    "deep-toml": _toml("a = " + "[" * 5000, "nested more than 20 levels deep"),
    "deep-toml-that-is-right": _toml(
        "a = " + "[" * 50 + "]" * 50, "nested more than 20 levels deep"
    ),
    "many": _yaml(P + "routes:\n" + "  a: [d]\n" * 20_000, "more than 10000 values"),
    "bomb": _yaml(BOMB, "more than 10000 values"),
    "alias-of-itself": _yaml("providers: &p {d: *p}\n", "line 1: providers", "contains itself"),
    "list-of-itself": _yaml(
        P + "routes: {default: &r [*r]}\n", "routes.default", "contains itself"
    ),
    # -- TOML
    "toml-syntax": _toml("[providers.d]\nplugin = \n", "line 2", "not valid TOML: Invalid value"),
    "toml-twice": _toml("retranscribe = true\nretranscribe = true\n", "line 2", "not valid TOML"),
    "toml-end": _toml('a = "x', "line 1", "not valid TOML: Unterminated string"),
    "toml-date": _toml(
        '[providers.d]\nplugin = "deepgram"\n[retry]\noutage_limit = 2026-11-23\n',
        "retry.outage_limit: must be a number, not a date",
    ),
    "toml-many": _toml("".join(f"a{n} = 1\n" for n in range(70_000)), "more than 10000 values"),
    # -- dicts
    "boolean-key": _dict(
        {"providers": PROVIDERS, "routes": {False: ["d"], "default": ["d"]}},
        "routes: a key must be a text, not false; YAML 1.1 reads an unquoted no",
    ),
    "number-key": _dict({"providers": {1: {"plugin": "deepgram"}}}, "a key must be a text, not 1"),
    "object": _dict(
        {"providers": PROVIDERS, "retry": object()}, "retry: must be a mapping, not a object"
    ),
    "object-option": _dict(
        {"providers": {"d": {"plugin": "deepgram", "options": {"http_session": object()}}}},
        "providers.d.options.http_session: a configuration cannot contain the http_session",
    ),
    # -- keys
    "no-providers": _yaml("retranscribe: true\n", "'providers' is missing"),
    "providers-empty": _yaml("providers: {}\n", "line 1: providers: is empty; name at least one"),
    "providers-null": _yaml("providers:\n", "providers: must be a mapping, not nothing"),
    "providers-list": _yaml("providers: [d]\n", "providers: must be a mapping, not a list"),
    "providers-text": _yaml("providers: s3cr3t\n", "providers: must be a mapping, not a text"),
    "provider-text": _yaml(
        "providers:\n  deepgram: s3cr3t\n", "line 2: providers.deepgram: must be a mapping, not a"
    ),
    "provider-without-space": _yaml(
        "providers:\n  d:\n    api_key:s3cr3t\n", "line 2: providers.d: must be a mapping, not a"
    ),
    "provider-variable": _yaml(
        "providers:\n  d: ${SECRET_VALUE}\n", "providers.d: must be a mapping, not ${SECRET_VALUE}"
    ),
    "unknown-section": _yaml(
        P + "provders: {}\n", "line 2: unknown key 'provders'; did you mean 'providers'?"
    ),
    "unknown-key-far-off": _yaml(P + "colour: red\n", "unknown key 'colour'; there is providers,"),
    "unknown-field": _yaml(
        P + "retry:\n  outage_limt: 3\n",
        "line 3: retry: unknown key 'outage_limt'; did you mean 'outage_limit'?",
    ),
    "unknown-entry": _yaml(
        "providers:\n  d:\n    plugin: deepgram\n    optoins: {}\n",
        "line 4: providers.d: unknown key 'optoins'; did you mean 'options'?",
    ),
    "unknown-trait": _yaml(
        _of_provider("{plugin: deepgram, traits: {pace: {brust: 2}}}"),
        "line 2: providers.d.traits.pace: unknown key 'brust'; did you mean 'burst'?",
    ),
    "name-of-a-trait": _yaml(
        _of_provider("{plugin: deepgram, traits: {name: e}}"), "unknown key 'name'"
    ),
    "name-is-a-number": _yaml("providers: {1: {plugin: deepgram}}\n", "providers.1: the name of a"),
    "name-with-spaces": _yaml(
        "providers: {my own: {plugin: deepgram}}\n",
        "providers.'my own': the name of a provider must be",
    ),
    "section-null": _yaml(P + "retry:\n", "line 2: retry: must be a mapping, not nothing"),
    "section-list": _yaml(P + "health: [memory]\n", "health: must be a mapping, not a list"),
    # -- values
    "duration-unit": _yaml(
        P + "retry: {outage_limit: 60x}\n",
        "line 2: retry.outage_limit: must be a duration: seconds, or a number with ms, s, m or h",
        "not '60x'",
    ),
    "duration-words": _yaml(
        P + "replay: {window: a minute}\n", "replay.window: must be a duration"
    ),
    "duration-negative": _yaml(P + "replay: {window: -3s}\n", "replay.window: must be 0 or more"),
    "duration-infinite": _yaml(P + "replay: {window: .inf}\n", "must be a finite number"),
    "duration-too-large": _yaml(P + "replay: {window: 1e999}\n", "must be a finite number"),
    "duration-nan": _yaml(P + "replay: {window: .nan}\n", "replay.window: must be"),
    "duration-boolean": _yaml(P + "replay: {window: true}\n", "replay.window: must be a number"),
    "duration-list": _yaml(P + "replay: {window: [1]}\n", "must be a number, not a list"),
    "count-with-unit": _yaml(
        P + "breaker: {consecutive_failures: 3s}\n",
        "breaker.consecutive_failures: must be a whole number, not '3s'",
    ),
    "count-broken": _yaml(
        P + "breaker: {consecutive_failures: 2.5}\n",
        "breaker.consecutive_failures: must be a whole",
    ),
    "count-boolean": _yaml(
        P + "breaker: {consecutive_failures: yes}\n",
        "breaker.consecutive_failures: must be a whole",
    ),
    "count-true": _yaml(
        P + "breaker: {consecutive_failures: true}\n",
        "breaker.consecutive_failures: must be a number",
    ),
    "count-huge": _yaml(
        P + f"breaker: {{consecutive_failures: {'9' * 30}}}\n",
        "breaker.consecutive_failures: must be",
    ),
    "share-with-unit": _yaml(
        P + "breaker: {failure_rate_threshold: 50ms}\n",
        "breaker.failure_rate_threshold: must be a number, not '50ms'",
    ),
    "flag-number": _yaml(P + "retranscribe: 3\n", "retranscribe: must be true or false, not 3"),
    "flag-word": _yaml(P + "failback: {enabled: maybe}\n", "failback.enabled: must be true or"),
    "no-time-to-connect": _yaml(
        P + "retry: {connect_timeout: 0s}\n", "retry.connect_timeout: must be more than 0"
    ),
    "no-attempts": _yaml(
        P + "retry: {max_concurrent_attempts: 0}\n",
        "retry.max_concurrent_attempts: must be 1 or more",
    ),
    "share-of-all": _yaml(P + "breaker: {jitter: 1.5}\n", "breaker.jitter: must be less than 1"),
    "window": _yaml(P + "replay: {window: 200ms}\n", "replay.window: must be 1 s or more"),
    "hedge": _yaml(
        P + "watchdog: {final_hedge_fraction: 2}\n",
        "line 2: watchdog.final_hedge_fraction: must be at most 1",
    ),
    "pace": _yaml(
        _of_provider("{plugin: deepgram, traits: {pace: {rate: 0.5}}}"),
        "providers.d.traits.pace.rate: must be 1 or more",
    ),
    "store": _yaml(
        P + "health: {store: disk}\n",
        "line 2: health.store: must be memory, or the URL of a Redis: redis://HOST:PORT/DB, "
        "not 'disk'",
    ),
    "store-number": _yaml(P + "health: {store: 7}\n", "health.store: must be memory, or the URL"),
    "redis-scheme": _yaml(
        P + "health: {store: 'reds://:s3cr3t@host'}\n",
        "line 2: health.store: the URL of a Redis must begin with redis://, rediss:// or unix://",
    ),
    "redis-host": _yaml(
        P + "health: {store: 'redis://:s3cr3t@'}\n",
        "health.store: the URL of a Redis needs its host: redis://HOST:PORT/DB",
    ),
    "redis-port": _yaml(
        P + "health: {store: 'redis://:s3cr3t/word@host'}\n",
        "health.store: this is not a valid URL of a Redis: write redis://HOST:PORT/DB",
        "write special characters in a user or password as %40 for @",
    ),
    "redis-fragment": _yaml(
        P + "health: {store: 'redis://:s3cr3t#word@host'}\n", "not a valid URL of a Redis"
    ),
    "redis-database": _yaml(
        P + "health: {store: 'redis://:s3cr3t@host/one'}\n",
        "URL of a Redis must end with the number of a database",
    ),
    "redis-option": _yaml(
        P + "health: {store: 'redis://:s3cr3t@host?tiemout=3'}\n", "has options (behind the ?)"
    ),
    "redis-space": _yaml(
        P + "health: {store: 'redis://:s3cr3t word@host'}\n",
        "the URL of a Redis must not contain spaces",
    ),
    "redis-socket": _yaml(
        P + "health: {store: 'unix://:s3cr3t@'}\n", "needs its path: unix:///PATH"
    ),
    "redis-variable": _yaml(
        P + "health: {store: 'redis://:${SECRET_VALUE}@host:port/0'}\n",
        "not a valid URL of a Redis",
    ),
    # -- plugins
    "no-plugin": _yaml(_of_provider("{options: {}}"), "providers.d: 'plugin' is missing"),
    "provider-null": _yaml(_of_provider(""), "providers.d: must be a mapping, not nothing"),
    "plugin-typo": _yaml(
        _of_provider("{plugin: deepgrm}"),
        "line 2: providers.d.plugin: no plugin 'deepgrm' is installed; did you mean 'deepgram'?",
    ),
    "plugin-missing": _yaml(
        _of_provider("{plugin: some_vendor}"),
        "no plugin 'some_vendor' is installed: pip install livekit-plugins-some-vendor",
    ),
    "plugin-path": _yaml(
        _of_provider("{plugin: ../os}"), "providers.d.plugin: no plugin '../os' is installed"
    ),
    "plugin-module": _yaml(
        _of_provider("{plugin: deepgram.stt}"), "no plugin 'deepgram.stt' is installed"
    ),
    "plugin-package": _yaml(
        _of_provider("{plugin: livekit-plugins-cartesia}"), "did you mean 'cartesia'?"
    ),
    "plugin-package-missing": _yaml(
        _of_provider("{plugin: livekit.plugins.some_vendor}"),
        "is installed: pip install livekit-plugins-some-vendor; there is",
    ),
    "plugin-number": _yaml(
        _of_provider("{plugin: 3}"), "providers.d.plugin: must be a text, not 3"
    ),
    "class-typo": _yaml(
        _of_provider("{plugin: deepgram, class: STTV3}"),
        "providers.d.class: the plugin 'deepgram' has no class 'STTV3'; did you mean",
    ),
    "class-that-speaks": _yaml(
        _of_provider("{plugin: deepgram, class: TTS}"), "the plugin 'deepgram' has no class 'TTS'"
    ),
    "class-private": _yaml(
        _of_provider("{plugin: deepgram, class: __builtins__}"), "has no class '__builtins__'"
    ),
    # -- options
    "option-typo": _yaml(
        "providers:\n  c:\n    plugin: cartesia\n    options:\n      modle: ink-2\n",
        "line 5: providers.c.options.modle: cartesia.STT has no option 'modle'; did you mean",
    ),
    "option-session": _yaml(
        _of_provider("{plugin: deepgram, options: {http_session: s3cr3t}}"),
        "providers.d.options.http_session: a configuration cannot contain the http_session of",
    ),
    "option-type": _yaml(
        _of_provider("{plugin: deepgram, options: {sample_rate: s3cr3t}}"),
        "providers.d.options.sample_rate: deepgram.STT's sample_rate should be a valid integer",
    ),
    "option-union": _yaml(
        _of_provider("{plugin: deepgram, options: {keyterm: {s3cr3t: 1}}}"),
        "deepgram.STT's keyterm should be a valid string or a valid list",
    ),
    "option-number-as-text": _yaml(
        _of_provider("{plugin: deepgram, options: {api_key: 3}}"), "should be a valid string"
    ),
    "key-with-line-break": _yaml(
        "providers:\n  d:\n    plugin: deepgram\n    options:\n      api_key: |\n        s3cr3t\n",
        "line 5: providers.d.options.api_key: begins or ends with white space; was a line break",
    ),
    "variable-with-line-break": _yaml(
        _of_provider("{plugin: cartesia, options: {api_key: '${SECRET_LINE}'}}"),
        "providers.d.options.api_key: begins or ends with white space",
    ),
    "option-incomplete": _yaml(
        _of_provider("{plugin: deepgram, options: {keywords: [[s3cr3t]]}}"),
        "providers.d.options.keywords: deepgram.STT's keywords does not fit: Field required",
    ),
    "option-huge": _yaml(
        _of_provider("{plugin: deepgram, options: {sample_rate: 1e99}}"),
        "deepgram.STT's sample_rate does not fit: Unable to parse",
    ),
    "option-that-cannot-stream": _yaml(
        _of_provider("{plugin: deepgram, options: {detect_language: true}}"),
        "providers.d.options.detect_language: deepgram.STT cannot stream with detect_language; `",
    ),
    "options-list": _yaml(
        _of_provider("{plugin: deepgram, options: [model]}"), "providers.d.options: must be a"
    ),
    "option-language": _yaml(
        "providers:\n  c: {plugin: cartesia, options: {model: ink-2, language: fr}}\n",
        "providers.c.options.language: c (ink-2) does not support fr, only en; use ink-whisper",
    ),
    "option-multi": _yaml(
        "providers: {c: {plugin: cartesia, options: {language: multi}}}\n",
        "providers.c.options.language: c (ink-whisper) does not support multi, only af, am,",
    ),
    "option-without-colon": _yaml(
        _of_provider("{plugin: deepgram, options: {api_key s3cr3t}}"),
        "providers.d.options: deepgram.STT has no option that is not a name (is a ':' missing?)",
    ),
    "option-alias": _yaml(
        _of_provider("{plugin: deepgram, options: {api_key: *s3cr3t}}"),
        "not valid YAML: found undefined alias; put texts with special characters in quotes",
    ),
    "option-tag": _yaml(
        "providers:\n  d:\n    plugin: deepgram\n    options:\n      api_key: !s3cr3t\n",
        "line 5: providers.d.options.api_key: tags ('!...') are not supported; put a text that",
    ),
    "option-anchors": _yaml(
        "a: &s3cr3t b\nc: &s3cr3t d\n", "line 2: not valid YAML", "found duplicate anchor"
    ),
    "entry-without-colon": _yaml(
        _of_provider("{plugin: deepgram, api_key s3cr3t}"), "unknown key that is not a name"
    ),
    # -- routes
    "route-unknown": _yaml(
        P + "routes:\n  default:\n    - d\n    - deepgrm\n",
        "line 5: routes.default[1]: unknown provider 'deepgrm'; there is d",
    ),
    "route-typo": _yaml(
        "providers: {deepgram: {plugin: deepgram}}\nroutes: {default: [deepgrm]}\n",
        "routes.default[0]: unknown provider 'deepgrm'; did you mean 'deepgram'?",
    ),
    "route-twice": _yaml(
        P + "routes: {default: [d, d]}\n", "routes.default[1]: 'd' is in this route twice"
    ),
    "route-empty": _yaml(P + "routes: {default: []}\n", "line 2: routes.default: is empty"),
    "route-text": _yaml(
        P + "routes: {default: d}\n", "routes.default: must be a list, such as [one, two], not 'd'"
    ),
    "route-number": _yaml(P + "routes: {default: [3]}\n", "routes.default[0]: must be a text"),
    "route-of-route": _yaml(
        P + "routes: {default: [d], es: [default]}\n",
        "routes.es[0]: 'default' is a route, not a provider; list the providers themselves",
    ),
    "no-default": _yaml(
        P + "routes: {es: [d]}\n", "line 2: routes: 'default' is missing", "default: [d]"
    ),
    "no-routes": _yaml(P + "routes: {}\n", "routes: 'default' is missing"),
    "default-typo": _yaml(P + "routes: {defualt: [d]}\n", "did you mean 'default'?"),
    "tag-form": _yaml(
        P + "routes: {default: [d], e: [d]}\n",
        "routes.e: 'e' is not a language tag (BCP 47), such as",
    ),
    "tag-name": _yaml(
        P + "routes: {default: [d], spanish: [d]}\n",
        "routes.spanish: 'spanish' is not a language tag (BCP 47); did you mean 'es'?",
    ),
    "tag-underscore": _yaml(P + "routes: {default: [d], es_mx: [d]}\n", "did you mean 'es-MX'?"),
    "tag-multi": _yaml(
        P + "routes: {default: [d], multi: [d]}\n",
        "the route for an unknown language is called 'det",
    ),
    "tag-twice": _yaml(
        P + "routes: {default: [d], es-mx: [d], es-MX: [d]}\n",
        "routes.es-MX: a second route for 'es-MX'; keep one",
    ),
    "traits-no-language": _yaml(
        _of_provider("{plugin: deepgram, traits: {languages: []}}"),
        "providers.d.traits.languages: is empty",
    ),
    "traits-language": _yaml(
        _of_provider("{plugin: deepgram, traits: {languages: [en, french]}}"),
        "traits.languages[1]: 'french' is not a language tag (BCP 47); did you mean 'fr'?",
    ),
    "language-not-spoken": _yaml(
        "providers: {c: {plugin: cartesia, options: {model: ink-2}}}\n"
        "routes: {default: [c], es: [c]}\n",
        "line 2: routes.es[0]: c (ink-2) does not support es, only en; use ink-whisper, or set",
    ),
    "language-not-in-multi": _yaml(
        "providers: {d: {plugin: deepgram, options: {language: multi}}}\n"
        "routes: {default: [d], sv: [d]}\n",
        "routes.sv[0]: d (nova-3) does not support sv, only de, en, es",
    ),
    "language-not-in-traits": _yaml(
        "providers: {d: {plugin: deepgram, traits: {languages: [en]}}}\n"
        "routes: {default: [d], es: [d]}\n",
        "routes.es[0]: d (nova-3) does not support es, only en;",
    ),
    "language-of-the-default-model": _yaml(
        "providers: {c: {plugin: cartesia}}\nroutes: {default: [c], es: [c]}\n",
        "c (ink-2) does not support es",
    ),
    "detects-nothing": _yaml(
        P + "routes: {default: [d], detect: [d]}\n",
        "routes.detect[0]: d (nova-3) does not detect languages; give it `options: {la",
    ),
    "cartesia-detects-nothing": _yaml(
        "providers: {c: {plugin: cartesia}}\nroutes: {default: [c], detect: [c]}\n",
        "routes.detect[0]: c (ink-2) does not detect languages; use one that does",
    ),
    # -- variables
    "variable-not-set": _yaml(
        "providers:\n  d:\n    plugin: deepgram\n    options: {api_key: '${NOT_SET}'}\n",
        "line 4: providers.d.options.api_key: the environment variable NOT_SET is not set; set it",
    ),
    "variable-empty": _yaml(_of_provider("{plugin: '${EMPTY}'}"), "variable EMPTY is empty"),
    "variable-unclosed": _yaml(
        _of_provider("{plugin: '${HOME'}"), "'${' must be the beginning of ${NAME}"
    ),
    "variable-name": _yaml(
        _of_provider("{plugin: '${1}'}"), "'${' must be the beginning of ${NAME}"
    ),
    "variable-in-default": _yaml(
        _of_provider("{plugin: '${A:-${B}}'}"), "contains no other variable"
    ),
    "variable-of-itself": _yaml(  # ITSELF holds ${ITSELF}
        _of_provider("{plugin: '${ITSELF}'}"),
        "providers.d.plugin: ${ITSELF} does not hold the name of a usable plugin",
    ),
    "variable-as-plugin": _yaml(
        _of_provider("{plugin: '${SECRET_VALUE}'}"),
        "${SECRET_VALUE} does not hold the name of a usable plugin; there is",
    ),
    "variable-as-class": _yaml(
        _of_provider("{plugin: deepgram, class: '${SECRET_VALUE}'}"),
        "${SECRET_VALUE} does not hold the name of a usable class; there is STT, STTv2",
    ),
    "variable-as-provider": _yaml(
        P + "routes: {default: ['${SECRET_VALUE}']}\n", "unknown provider ${SECRET_VALUE}; there is"
    ),
    "variable-as-duration": _yaml(
        P + "replay: {window: '${SECRET_VALUE}'}\n", "must be a duration", "not ${SECRET_VALUE}"
    ),
    "variable-as-count": _yaml(
        P + "breaker: {consecutive_failures: '${SECRET_VALUE}'}\n",
        "whole number, not ${SECRET_VALUE}",
    ),
    "variable-as-flag": _yaml(
        P + "retranscribe: '${SECRET_VALUE}'\n", "true or false, not ${SECRET_VALUE}"
    ),
    "variable-as-option": _yaml(
        _of_provider("{plugin: deepgram, options: {sample_rate: '${SECRET_VALUE}'}}"),
        "deepgram.STT's sample_rate should be a valid integer",
    ),
    "variable-as-language": _yaml(
        "providers: {c: {plugin: cartesia, options: {language: '${SECRET_VALUE}'}}}\n",
        "c (ink-whisper) does not support ${SECRET_VALUE}",
    ),
    "variable-as-model": _yaml(
        "providers: {c: {plugin: cartesia, options: {model: '${INK}'}}}\n"
        "routes: {default: [c], es: [c]}\n",
        "c (${INK}) does not support es",
    ),
    "variable-as-tag": _yaml(
        _of_provider("{plugin: deepgram, traits: {languages: ['${SECRET_VALUE}']}}"),
        "${SECRET_VALUE} is not a language tag",
    ),
    "variable-as-store": _yaml(
        P + "health: {store: '${SECRET_VALUE}'}\n", "must be memory, or", "not ${SECRET_VALUE}"
    ),
}
ENVIRONMENT = {
    "SECRET_VALUE": "s3cr3t-of-the-environment",
    "SECRET_LINE": "s3cr3t-of-a-file\n",
    "EMPTY": "",
    "ITSELF": "${ITSELF}",
    "INK": "ink-2",
}
"""The values of the variables above; `NOT_SET`, `A` and `B` are not set."""
