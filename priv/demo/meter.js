// Turns two statistics reports, the browser's and the server's, into rates.

const sum = (list, field) => list.reduce((total, one) => total + (one[field] ?? 0), 0);

// Per second; null at first, and where a counter started anew.
function rate(now, before, seconds) {
  return before === undefined || now < before || seconds <= 0 ? null : (now - before) / seconds;
}

function loss(now, before) {
  if (!before) return null;
  const lost = Math.max(0, now.lost - before.lost);
  const got = now.packets - before.packets;
  return got + lost <= 0 ? null : (100 * lost) / (got + lost);
}

export class Meter {
  #browser;
  #server;

  browser(report) {
    const all = [...report.values()];
    const inbound = all.filter(one => one.type === "inbound-rtp");
    const outbound = all.filter(one => one.type === "outbound-rtp");
    const remote = all.filter(one => one.type === "remote-inbound-rtp");
    const transport = all.find(one => one.type === "transport");
    const pair = report.get(transport?.selectedCandidatePairId);
    const codec = kind => {
      const one = outbound.find(o => o.kind === kind) ?? inbound.find(i => i.kind === kind);
      return report.get(one?.codecId);
    };
    const picture = (list, size) => list.find(one => one.kind === "video" && one[size]);
    const now = {
      at: performance.now() / 1000,
      sent: sum(outbound, "bytesSent"),
      received: sum(inbound, "bytesReceived"),
      lost: sum(inbound, "packetsLost"),
      packets: sum(inbound, "packetsReceived"),
    };
    const last = this.#browser;
    const remoteLoss = remote.length ? 100 * Math.max(...remote.map(one => one.fractionLost ?? 0)) : null;
    const seconds = last ? now.at - last.at : 0;
    this.#browser = now;
    return {
      sent: bits(rate(now.sent, last?.sent, seconds)),
      received: bits(rate(now.received, last?.received, seconds)),
      loss: inbound.length ? loss(now, last) : remoteLoss,
      roundTrip: pair?.currentRoundTripTime !== undefined ? 1000 * pair.currentRoundTripTime : null,
      videoCodec: codec("video"),
      audioCodec: codec("audio"),
      videoIn: picture(inbound, "frameWidth"),
      videoOut: picture(outbound, "frameWidth"),
      transport,
      local: report.get(pair?.localCandidateId),
      remote: report.get(pair?.remoteCandidateId),
    };
  }

  server(answer) {
    const all = answer.stats ?? [];
    const of = type => all.filter(one => one.type === type);
    const inbound = of("inbound_rtp");
    const outbound = of("outbound_rtp");
    const remote = of("remote_inbound_rtp");
    const transport = of("transport")[0];
    const pairs = of("candidate_pair");
    const pair = pairs.find(one => one.id === transport?.selected_candidate_pair_id)
      ?? pairs.find(one => one.nominated);
    const now = {
      at: performance.now() / 1000,
      sent: sum(outbound, "bytes_sent"),
      received: sum(inbound, "bytes_received"),
      lost: sum(inbound, "packets_lost"),
      packets: sum(inbound, "packets_received"),
    };
    const last = this.#server;
    const seconds = last ? now.at - last.at : 0;
    const remoteLoss = remote.length ? 100 * Math.max(...remote.map(one => one.fraction_lost ?? 0)) : null;
    this.#server = now;
    return {
      sent: bits(rate(now.sent, last?.sent, seconds)),
      received: bits(rate(now.received, last?.received, seconds)),
      loss: inbound.length ? loss(now, last) : remoteLoss,
      roundTrip: Number.isFinite(pair?.current_round_trip_time) ? 1000 * pair.current_round_trip_time : null,
      transport,
      state: answer.connection_state,
    };
  }
}

const bits = bytes => (bytes === null ? null : (bytes * 8) / 1e6);
