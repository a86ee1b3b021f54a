"""What the fake providers share: a loopback server, the log of its connections, and its faults.

A subclass adds what carries the protocol: `web.py: FakeWebServer` websockets and POSTs,
`google.py: FakeGoogle` gRPC. A provider's subclass adds the protocol, in the abstract methods and
in its `Dialogue`.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, overload

from livekit.agents import stt
from multidict import CIMultiDict, MultiDict

from ..faults import (
    ConnectFault,
    DropAfterClose,
    Fault,
    FaultScript,
    InBandError,
    StreamFault,
)
from ..speech.accent import Accent
from ..speech.recognizer import AudioRecognizer, HeardWord, Recognizer, RecognizerFactory
from ..speech.reference import SAMPLE_RATE, ReferenceSpeech
from .dialogue import Dialogue, Sent, ServerConnection
from .wires import Wire

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from livekit.agents.stt import STT

__all__ = [
    "FAKE_KEY",
    "LOOPBACK",
    "REDACTED",
    "Dialogue",
    "FakeServer",
    "Rejection",
    "Sent",
    "ServerConnection",
    "TriggeredFault",
    "url_of",
]

LOOPBACK = "127.0.0.1"
REDACTED = "<redacted>"
FAKE_KEY = "fake-key"
"""The key with which the plugins connect. Any other would do."""

_SECRET_HEADERS = (
    "X-API-Key",
    "Authorization",
    "Cookie",
    "xi-api-key",
    "X-Gladia-Key",
    "api-subscription-key",
    "Ocp-Apim-Subscription-Key",
    "x-goog-api-key",
)
_SECRET_QUERY = ("api_key", "access_token", "token")


class Rejection(Exception):
    """A request that the provider answers with an HTTP error, without any fault."""

    def __init__(self, status: int, message: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class TriggeredFault(NamedTuple):
    """A fault that has happened.

    Attributes:
        fault: The fault as it is in the script.
        connection: The number of the connection.
        at: When it happened, in seconds since the server's start; when it began, if it lasts.
    """

    fault: Fault
    connection: int
    at: float


class FaultsInForce:
    """The attribute `faults` of a server. Assigning an iterable of faults replaces all of them."""

    @overload
    def __get__(self, server: None, owner: type[FakeServer]) -> Iterable[Fault]: ...

    @overload
    def __get__(self, server: FakeServer, owner: type[FakeServer]) -> FaultScript: ...

    def __get__(self, server: FakeServer | None, owner: type[FakeServer]) -> Iterable[Fault]:
        # The default of the dataclass's field is looked up on the class.
        return FaultScript() if server is None else server._script

    def __set__(self, server: FakeServer, faults: Iterable[Fault]) -> None:
        server._replace_faults(FaultScript(faults))


@dataclass(kw_only=True, repr=False, eq=False)
class FakeServer(ABC):
    """A provider on loopback that transcribes the audio it receives, with faults.

    Args:
        faults: What goes wrong. Can be assigned while the server runs.
        latency: Seconds from the audio that completes a message to the message.
        endpoint_silence: Seconds without speech after which a transcript becomes final.
        handshake: Seconds from the request to its acceptance, such as the 101.
        concurrency: Open streams at once. A request for a stream beyond them is answered with 429.
            Connections whose peer has vanished count. None: no limit.
        idle_timeout: Seconds without audio or text after which a connection is closed. Pings do not
            count. It has no effect during a stall, or once the client has sent its closing message.
        max_burst: Seconds of audio that may arrive ahead of real time, counted from the
            acceptance. Beyond them the connection is closed with 1008. None: no limit.
        speed: The multiple of real time at which audio is processed at most, on connections that
            open from then on. None: no limit.
        max_message: Bytes of a message beyond which the connection is closed with 1009. None: no
            limit.
        recognizer: Makes the recognizer of each connection. None: one that knows the `corpus`. With
            any other, faults wait for seconds (`at_audio`, `at_time`) and not for a word.
        corpus: The recordings that it recognizes. None: all that are shipped. A fault's word is the
            word with this index in any of them.
        accent: How it writes and times what it recognizes. Can be assigned while the server runs.
            None: as it was spoken.

    Attributes:
        connections: The log of all connections, in the order of their requests.
        triggered: The log of the faults that have happened, in order.

    Raises:
        ValueError: A fault waits for a word that is not in the corpus, or that the `recognizer`
            does not know.
    """

    plugin: ClassVar[str]
    """The plugin that connects here: `livekit.plugins.PLUGIN`; `inference` is LiveKit's own."""
    plugin_class: ClassVar[str] = "STT"
    """The name of its class."""
    plugin_options: ClassVar[Mapping[str, Any]] = {}
    """Options of the class with which it speaks this protocol, beside its `address`."""
    unnoticed: ClassVar[Mapping[str, str]] = {}
    """Faults that cost words, by their names in `chaos`, and why nobody behind the plugin can
    notice that in time."""
    has_threads: ClassVar[bool] = False
    """Whether the plugin's SDK works in threads. Virtual time cannot see them, so that only in real
    time everything happens when it should."""
    dialogue_class: ClassVar[Callable[..., Dialogue]]
    """Makes the `Dialogue` of an accepted connection, unless `dialogue` is overridden."""

    latency: float = 0.2
    endpoint_silence: float = 0.5
    handshake: float = 0.15
    concurrency: int | None = None
    idle_timeout: float | None = None
    max_burst: float | None = None
    speed: float | None = None
    max_message: int | None = None
    recognizer: RecognizerFactory | None = None
    corpus: Sequence[ReferenceSpeech] | None = None
    accent: Accent | None = None
    connections: list[ServerConnection] = field(init=False, default_factory=list)
    triggered: list[TriggeredFault] = field(init=False, default_factory=list)
    _dialogues: list[Dialogue] = field(init=False, default_factory=list)
    _open_streams: int = field(init=False, default=0)
    """The number of open streams, for `concurrency`."""
    _timers: list[asyncio.TimerHandle] = field(init=False, default_factory=list)
    _host: str = field(init=False, default=LOOPBACK)
    _port: int | None = field(init=False, default=None)
    """The port that it listens on; None while it does not."""
    _started: float = field(init=False, default=0.0)
    _script: FaultScript = field(init=False, default=FaultScript())
    faults: FaultsInForce = FaultsInForce()  # last, because assigning it uses the other fields

    def __repr__(self) -> str:
        where = self.url if self._port else "stopped"
        alive = sum(c.closed is None for c in self.connections)
        count = f"{len(self.connections)} connections, {alive} open"
        return f"<{type(self).__name__} {where}, {count}, {len(self._script)} faults>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, host: str = LOOPBACK, port: int = 0) -> None:
        """Start listening. The server's clock starts here, at 0. `async with` does this with the
        defaults.

        Args:
            host: Name or address to listen on. On any but loopback, other machines can connect with
                any key.
            port: The port; 0 is any free one.

        Raises:
            OSError: It cannot listen there.
            RuntimeError: It listens already.
        """
        if self._port is not None:
            raise RuntimeError(f"{type(self).__name__} is already running, at {self.url}")
        if self.recognizer is not None:
            self.new_recognizer(SAMPLE_RATE, None)  # a model is loaded before anybody waits for it
        self._host = host
        self._port = await self._listen(host, port)
        self._started = asyncio.get_running_loop().time()
        self._arm(self._script)

    async def stop(self) -> None:
        """Stop listening, and abort all connections, as a process does that ends."""
        if self._port is None:
            return
        self._disarm()
        for connection in self.connections:
            if connection.closed is None:
                connection.end("server stopped")
        await self._abort()
        self._port = None

    @abstractmethod
    async def _listen(self, host: str, port: int) -> int:
        """Start listening; return the port.

        Raises:
            OSError: It cannot listen there.
        """

    @abstractmethod
    async def _abort(self) -> None:
        """Stop listening, and abort all connections."""

    @property
    def now(self) -> float:
        """Seconds since the start, on the event loop's clock."""
        return asyncio.get_running_loop().time() - self._started

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._port is None:
            raise RuntimeError(f"{type(self).__name__} is not running")
        return self._port

    @property
    def url(self) -> str:
        """The URL for the provider's plugin.

        Raises:
            RuntimeError: The server is not running.
        """
        return url_of(self._host, self.port)

    @property
    def address(self) -> dict[str, Any]:
        """The options of the plugin's class that lead it here, with a key.

        Raises:
            RuntimeError: The server is not running.
        """
        return {"api_key": FAKE_KEY, "base_url": self.url}

    @property
    def plugin_call(self) -> str:
        """The Python that makes the plugin connect here, for an agent in another process.

        Raises:
            RuntimeError: The server is not running.
        """
        options = {**self.plugin_options, **self.address}
        listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{self.plugin}.{self.plugin_class}({listed})"

    def new_recognizer(self, sample_rate: int, languages: Sequence[str] | None) -> Recognizer:
        """Make the recognizer of a connection or of a posted recording.

        Args:
            sample_rate: Hz of the audio.
            languages: Base subtags of the languages that it knows. None: all.
        """
        if self.recognizer is not None:
            return self.recognizer(sample_rate=sample_rate, languages=languages)
        return AudioRecognizer(self.corpus, sample_rate=sample_rate, languages=languages)

    def written(self, words: Sequence[HeardWord], *, complete: bool = True) -> list[HeardWord]:
        """The words as this provider writes them; see `Accent.write`."""
        return self.accent.write(words, complete=complete) if self.accent else [*words]

    def pause(self, seconds: float) -> float:
        """The silence after which it makes a transcript final, if that is usually so many
        seconds."""
        return seconds * (self.accent.pause if self.accent else 1.0)

    def is_long(self, words: Sequence[HeardWord]) -> bool:
        """Whether it makes these words final without a pause, because of its accent."""
        most = self.accent.max_words if self.accent else None
        return most is not None and len(words) >= most

    def inject(self, fault: Fault) -> None:
        """Add a fault to the script.

        A fault without a trigger happens to the open connections now, and to later ones when they
        open.
        """
        self._script = self._checked(self._script + fault)
        if self._port is not None:
            self._arm([fault])

    def trigger(self, fault: Fault) -> list[ServerConnection]:
        """Let a fault happen to connections that are open now, and to no later one.

        A fault without a trigger happens before this returns. The fault is added to the script for
        these connections only, so assigning `faults` ends it.

        Returns:
            The connections: those that are open, and in the fault's own `connections`.

        Raises:
            ValueError: The fault is a `ConnectFault`, its period is over, or it waits for a word
                that is not in the corpus.
        """
        if not isinstance(fault, StreamFault):
            raise ValueError(f"{fault!r} does not happen to open connections: add it with `inject`")
        dialogues = [d for d in self._dialogues if d.connection.ended is None]
        connections = [d.connection for d in dialogues if fault.applies_to(d.connection.index)]
        fault = replace(
            fault, connections=frozenset(connection.index for connection in connections)
        )
        if fault.by_audio or fault.at_time is not None or isinstance(fault, DropAfterClose):
            self.inject(fault)
            return connections
        # With a time it differs from an equal fault that is triggered later, so that each of them
        # happens.
        fault = replace(fault, at_time=self.now)
        self._script = self._checked(self._script + fault)
        self._trigger_on_all(fault)
        return connections

    def note_triggered(self, fault: Fault, connection: ServerConnection) -> None:
        """Log that a fault happens to a connection."""
        self.triggered.append(TriggeredFault(fault, connection.index, self.now))

    def _replace_faults(self, script: FaultScript) -> None:
        self._script = self._checked(script)
        self._disarm()
        if self._port is not None:
            self._arm(self._script)

    def _checked(self, script: FaultScript) -> FaultScript:
        faults = [fault for fault in script if isinstance(fault, StreamFault)]
        moments = [(f.at_word, f.part) for f in faults if f.at_word is not None]
        if moments:
            recognizer = self.new_recognizer(SAMPLE_RATE, None)
            for word, part in moments:
                recognizer.reached(word, part)  # raises if that cannot happen
        return script

    def _arm(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if isinstance(fault, StreamFault) and fault.at_time is not None:
                loop = asyncio.get_running_loop()
                when = self._started + fault.at_time
                self._timers.append(loop.call_at(when, self._trigger_on_all, fault))
        for dialogue in list(self._dialogues):
            dialogue.arm(self._script)

    def _disarm(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _trigger_on_all(self, fault: StreamFault) -> None:
        for dialogue in list(self._dialogues):
            if fault.applies_to(dialogue.connection.index):
                dialogue.trigger(fault)

    def _log_connection(
        self, path: str, query: MultiDict[str], headers: CIMultiDict[str]
    ) -> ServerConnection:
        """Begin the log of a new connection."""
        index = len(self.connections)
        connection = ServerConnection(
            index=index,
            path=path,
            query=MultiDict((k, REDACTED if k in _SECRET_QUERY else v) for k, v in query.items()),
            headers=_redacted(headers),
            request_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{type(self).__name__}#{index}")),
            opened=self.now,
        )
        self.connections.append(connection)
        return connection

    def _connect_fault(self, connection: ServerConnection) -> ConnectFault | None:
        """The fault that answers the request of a new connection, if there is one."""
        fault = self._script.at_connect(connection.index, self.now)
        if fault is not None:
            self.note_triggered(fault, connection)
        return fault

    async def _converse(
        self, connection: ServerConnection, accept: Callable[[], Awaitable[Wire]]
    ) -> None:
        """Serve a stream. `accept` answers its request, once the handshake has taken its time.

        Raises:
            Rejection: There are too many streams already.
        """
        if self.concurrency is not None and self._open_streams >= self.concurrency:
            raise Rejection(429)
        self._open_streams += 1
        try:
            await asyncio.sleep(self.handshake)
            dialogue = self.dialogue(connection, await accept())
            self._dialogues.append(dialogue)
            try:
                dialogue.arm(self._script)
                await dialogue.run()
            finally:
                self._dialogues.remove(dialogue)
        finally:
            self._open_streams -= 1

    def redirect(self, plugin: STT[Any]) -> STT[Any]:
        """Lead a plugin here that was made with this `address`, as far as its options cannot;
        return it."""
        return plugin

    @abstractmethod
    def stt(self, **options: Any) -> stt.STT[Any]:
        """The published plugin, so configured that it connects here. `options` are those of its
        constructor."""

    def sample_rate(self, connection: ServerConnection) -> int:
        """Hz of the audio on a connection, as far as its request says; by default the query's
        `sample_rate`. A `Dialogue` that learns it later calls its `configure`."""
        return int(connection.query["sample_rate"])

    @abstractmethod
    def languages(self, connection: ServerConnection) -> Sequence[str]:
        """The base subtags of the languages that the provider knows on a connection.

        Words of any other language are recognized as wrong words of the first.
        """

    @abstractmethod
    def in_band_error(self, connection: ServerConnection, fault: InBandError) -> Mapping[str, Any]:
        """The provider's in-band error message on a connection."""

    def close_after(self, fault: InBandError) -> tuple[int, str]:
        """The close code and the reason with which an in-band error ends the connection."""
        clients = isinstance(fault.code, int) and fault.code < 500
        return 1008 if clients else 1011, ""

    def dialogue(self, connection: ServerConnection, wire: Wire) -> Dialogue:
        """The dialogue for an accepted connection."""
        return type(self).dialogue_class(self, connection, wire)


def url_of(host: str, port: int, path: str = "", scheme: str = "http") -> str:
    """The URL of a server that listens on a name or an address, for clients on this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"{scheme}://{host}:{port}{path}"
    if address.is_unspecified:
        host = LOOPBACK
    elif address.version == 6:
        host = f"[{host}]"
    return f"{scheme}://{host}:{port}{path}"


def _redacted(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    redacted = CIMultiDict(headers)
    for name in _SECRET_HEADERS:
        if name in redacted:
            redacted[name] = REDACTED
    return redacted
