const minute = 60_000;
/** The figures of the status line are those of the last ten seconds. */
const recent = 10_000;
/** Rates are those of the last two seconds. */
const rateWindow = 2_000;

/** Measures of the last minute of a session. Times are those of `performance.now()`, in milliseconds. */
export class Stats {
    #sent = [];
    #shown = [];
    #promptToEffect = null;
    #server = {};
    /** Sessions that share the model, by the server's last report. */
    sessions = null;
    dropped = { credit: 0, inbox: 0, outbox: 0, late: 0 };

    sent(now) {
        this.#sent.push(now);
        trim(this.#sent, (time) => now - time > rateWindow);
    }

    /** Counts frames that were not shown: `credit` before sending, `late` after receiving. */
    drop(cause, count = 1) {
        this.dropped[cause] += count;
    }

    /** Takes a shown frame; `times` are those of the frame that it was made from. */
    shown(frame, times) {
        const shown = { time: frame.shownTime };
        if (times) {
            const onTheWay = frame.arrival - times.encodedTime;
            shown.latency = frame.shownTime - times.captureTime;
            shown.capture = times.takenTime - times.captureTime;
            shown.encode = times.encodedTime - times.takenTime;
            shown.network = Math.max(0, onTheWay - frame.serverTime);
            shown.server = frame.serverTime;
            shown.show = frame.shownTime - frame.arrival;
        }
        this.#shown.push(shown);
        trim(this.#shown, ({ time }) => frame.shownTime - time > minute);
    }

    /** Takes the server's `stats` message. */
    server(message) {
        this.#server = message.stages_ms ?? {};
        this.sessions = message.sessions ?? null;
        this.dropped.inbox = message.dropped?.inbox ?? 0;
        this.dropped.outbox = message.dropped?.outbox ?? 0;
    }

    /** Takes the time from a new prompt to the first frame that shows it. */
    effect(milliseconds) {
        this.#promptToEffect = milliseconds;
    }

    summary(now) {
        const latencies = this.#measured(now - recent, now).map(({ latency }) => latency);
        return {
            framesIn: rate(this.#sent, now),
            framesOut: rate(this.#shown.map(({ time }) => time), now),
            p50: quantile(latencies, 0.5),
            p95: quantile(latencies, 0.95),
            dropped: Object.values(this.dropped).reduce((sum, count) => sum + count, 0),
            promptToEffect: this.#promptToEffect,
        };
    }

    /**
     * Median and 95th percentile of the latency in each of the last 60 seconds, oldest first; null
     * for a second without a frame.
     */
    curve(now) {
        const seconds = Array.from({ length: 60 }, () => []);
        for (const { time, latency } of this.#measured(now - minute + 1, now)) {
            seconds[59 - Math.floor((now - time) / 1000)].push(latency);
        }
        return seconds.map((latencies) => latencies.length
            ? { p50: quantile(latencies, 0.5), p95: quantile(latencies, 0.95) }
            : null);
    }

    /** The stages of a frame in order, with the median of each in milliseconds. */
    stages(now) {
        const shown = this.#measured(now - recent, now);
        const median = (name) => quantile(shown.map((frame) => frame[name]), 0.5);
        const server = this.#server;
        const roundTrip = median("network");
        const halfway = roundTrip === null ? null : roundTrip / 2;
        const atWork = ["queue", "encode", "denoise", "vae_decode", "compress"]
            .reduce((sum, stage) => sum + (server[stage] ?? 0), 0);
        const inServer = median("server");
        return [
            ["capture", median("capture")],
            ["encode", median("encode")],
            ["network up", halfway],
            // A frame waits until its chunk is complete.
            ["chunk", inServer === null ? null : Math.max(0, inServer - atWork)],
            ["queue", server.queue],
            ["VAE encode", server.encode],
            ["denoise", server.denoise],
            ["VAE decode", server.vae_decode],
            ["encode result", server.compress],
            ["network down", halfway],
            ["show", median("show")],
        ].map(([name, milliseconds]) => ({ name, milliseconds: milliseconds ?? null }));
    }

    /** The shown frames of a time whose latency is known. */
    #measured(from, to) {
        return this.#shown.filter(({ time, latency }) => latency !== undefined && time >= from && time <= to);
    }
}

function trim(list, isOld) {
    const first = list.findIndex((item) => !isOld(item));
    list.splice(0, first < 0 ? list.length : first);
}

function rate(times, now) {
    return times.filter((time) => now - time < rateWindow).length / (rateWindow / 1000);
}

function quantile(values, q) {
    if (!values.length) return null;
    const sorted = values.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
