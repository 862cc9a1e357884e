"""aiortc as the other peer: `peer.py offer URL` offers to the demo's /echo; `peer.py answer`
answers an offer that comes as a line of JSON on stdin. Either prints one line of JSON per step:
its description, then what it saw."""

import asyncio
import json
import sys
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

MESSAGES = ["hello", "", "ünïcödé ✓", b"bytes \x00\xff", b"", "x" * 65536, bytes(range(256)) * 256]
FRAMES = 30


class Peer:
    def __init__(self):
        self.pc = RTCPeerConnection()
        self.frames = {"audio": 0, "video": 0}
        self.size = None
        self.echoed = []
        self.enough = {"audio": asyncio.Event(), "video": asyncio.Event(), "data": asyncio.Event()}
        self.tasks = []
        self.pc.on("track", self.on_track)
        self.pc.on("datachannel", self.on_channel)

    def on_track(self, track):
        self.tasks.append(asyncio.ensure_future(self.watch(track)))

    async def watch(self, track):
        while True:
            frame = await track.recv()
            self.frames[track.kind] += 1
            if track.kind == "video":
                self.size = [frame.width, frame.height]
            if self.frames[track.kind] >= FRAMES:
                self.enough[track.kind].set()

    def on_channel(self, channel):
        def opened():
            for message in MESSAGES:
                channel.send(message)

        @channel.on("message")
        def on_message(message):
            self.echoed.append(message)
            if len(self.echoed) == len(MESSAGES):
                self.enough["data"].set()

        if channel.readyState == "open":
            opened()
        else:
            channel.on("open", opened)

    async def result(self):
        waits = [asyncio.ensure_future(event.wait()) for event in self.enough.values()]
        await asyncio.wait(waits, timeout=20)
        for one in waits + self.tasks:
            one.cancel()
        result = {
            "state": self.pc.connectionState,
            "frames": self.frames,
            "size": self.size,
            "echoed": len(self.echoed),
            "same": self.echoed == MESSAGES,
            "kinds": [type(one).__name__ for one in self.echoed] == [type(one).__name__ for one in MESSAGES],
        }
        await self.pc.close()
        return result


def post(url, sdp):
    request = urllib.request.Request(url, data=sdp.encode(), headers={"Content-Type": "application/sdp"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read().decode()


async def offer(url):
    peer = Peer()
    peer.pc.addTrack(AudioStreamTrack())
    peer.pc.addTrack(VideoStreamTrack())
    peer.on_channel(peer.pc.createDataChannel("aiortc"))
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    loop = asyncio.get_running_loop()
    answer = await loop.run_in_executor(None, post, url, peer.pc.localDescription.sdp)
    await peer.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    say(await peer.result())


async def answer():
    peer = Peer()
    loop = asyncio.get_running_loop()
    line = await loop.run_in_executor(None, sys.stdin.readline)
    await peer.pc.setRemoteDescription(RTCSessionDescription(json.loads(line)["sdp"], "offer"))
    for transceiver in peer.pc.getTransceivers():
        peer.pc.addTrack(AudioStreamTrack() if transceiver.kind == "audio" else VideoStreamTrack())
    await peer.pc.setLocalDescription(await peer.pc.createAnswer())
    say({"sdp": peer.pc.localDescription.sdp})
    say(await peer.result())


def say(message):
    print(json.dumps(message), flush=True)


asyncio.run(offer(sys.argv[2]) if sys.argv[1] == "offer" else answer())
