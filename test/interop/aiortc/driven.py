"""aiortc as a peer that a test drives step by step. A line of JSON on stdin, {"step", "options"},
is answered by one on stdout: {"result"} or {"error"}. The steps are those of browser/peer.js."""

import asyncio
import dataclasses
import datetime
import hashlib
import json
import sys
import traceback

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack


class Driven:
    def __init__(self):
        self.start(RTCPeerConnection())

    async def open(self, configuration):
        servers = [RTCIceServer(**one) for one in configuration.get("iceServers", [])]
        policy = RTCIceTransportPolicy(configuration.get("iceTransportPolicy", "all"))
        self.start(RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy)))
        return True

    def start(self, pc):
        self.pc = pc
        self.states = []
        self.channels = []
        self.heard = []
        self.frames = {"audio": 0, "video": 0}
        self.tasks = []
        self.pc.on("track", self.on_track)
        self.pc.on("datachannel", self.listen)
        self.pc.on("connectionstatechange", lambda: self.states.append(self.pc.connectionState))

    def on_track(self, track):
        self.tasks.append(asyncio.ensure_future(self.watch(track)))

    async def watch(self, track):
        while True:
            await track.recv()
            self.frames[track.kind] += 1

    def listen(self, channel):
        self.channels.append(channel)
        channel.on("message", lambda data: self.heard.append(data if isinstance(data, str) else f"{len(data)} bytes"))

    async def channel(self, label):
        self.listen(self.pc.createDataChannel(label))
        return label

    async def say(self, text, count=1):
        for _ in range(count):
            self.channels[0].send(text)
        return count

    async def add(self, kind, codec=None):
        track = AudioStreamTrack() if kind == "audio" else VideoStreamTrack()
        self.pc.addTrack(track)
        if codec:
            sender = next(one for one in self.pc.getSenders() if one.track is track)
            transceiver = next(one for one in self.pc.getTransceivers() if one.sender is sender)
            capabilities = RTCRtpSender.getCapabilities(kind).codecs
            wanted = [one for one in capabilities if one.mimeType.lower() == f"{kind}/{codec}".lower()]
            transceiver.setCodecPreferences(wanted + [one for one in capabilities if one.mimeType.endswith("/rtx")])
        return True

    async def offer(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def take(self, sdp):
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        return True

    async def answer(self):
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return self.pc.localDescription.sdp

    async def accept(self, sdp):
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        return True

    async def quiet(self):
        for sender in self.pc.getSenders():
            sender.replaceTrack(None)
        return True

    async def state(self):
        return {
            "connection": self.pc.connectionState,
            "ice": self.pc.iceConnectionState,
            "signaling": self.pc.signalingState,
            "states": self.states,
            "channels": [one.readyState for one in self.channels],
            "heard": self.heard,
            "frames": self.frames,
        }

    async def stats(self):
        return [dataclasses.asdict(entry) for entry in (await self.pc.getStats()).values()]

    async def fingerprint(self):
        """Both certificates as DTLS has them, not as any report tells them."""
        transport = self.pc.getTransceivers()[0].sender.transport
        remote = transport._ssl.get_peer_certificate(as_cryptography=True)
        der = remote.public_bytes(__import__("cryptography").hazmat.primitives.serialization.Encoding.DER)
        print_of = lambda data: ":".join(f"{byte:02X}" for byte in hashlib.sha256(data).digest())
        local = next(one.value for one in transport.getLocalParameters().fingerprints if one.algorithm == "sha-256")
        return {"local": local, "remote": print_of(der)}

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await self.pc.close()
        return True


def encode(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(type(value))


async def serve():
    peer = Driven()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = {"result": await getattr(peer, request["step"])(**request["options"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer, default=encode), flush=True)


asyncio.run(serve())
