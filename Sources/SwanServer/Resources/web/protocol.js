// Binary messages of the realtime protocol: a 32-byte little-endian header, and a picture or a frame of H.264.
// docs/protocol.md describes the fields.

const version = 1;
const frameKind = 1;
const headerBytes = 32;

/** Codecs of a frame's payload: the number in the header and, of pictures, the media type. */
const codecs = { jpeg: { number: 1, mediaType: "image/jpeg" }, png: { number: 2, mediaType: "image/png" }, h264: { number: 3 } };
const keyFrameFlag = 1;

/**
 * Returns a frame as one message.
 *
 * `captureTime` is in milliseconds by this page's clock. The server echoes it, so that the latency
 * is the difference of two times of one clock.
 */
export function packFrame({ sequence, captureTime, width, height, codec, isKeyFrame }, payload) {
    const message = new Uint8Array(headerBytes + payload.byteLength);
    const header = new DataView(message.buffer);
    header.setUint8(0, version);
    header.setUint8(1, frameKind);
    header.setUint8(2, codecs[codec].number);
    header.setUint8(3, codec === "h264" && isKeyFrame ? keyFrameFlag : 0);
    header.setUint32(4, sequence, true);
    header.setBigUint64(8, BigInt(Math.round(captureTime * 1000)), true);
    header.setUint16(20, width, true);
    header.setUint16(22, height, true);
    message.set(new Uint8Array(payload), headerBytes);
    return message;
}

/** Returns the fields and the payload of a frame; null for a message that is not a frame of this version. */
export function unpackFrame(buffer) {
    if (buffer.byteLength < headerBytes) return null;
    const header = new DataView(buffer);
    const codec = Object.values(codecs).find(({ number }) => number === header.getUint8(2));
    if (header.getUint8(0) !== version || header.getUint8(1) !== frameKind || !codec) return null;
    return {
        sequence: header.getUint32(4, true),
        captureTime: Number(header.getBigUint64(8, true)) / 1000,
        event: header.getUint32(16, true),
        chunk: header.getUint32(24, true),
        serverTime: header.getUint32(28, true),
        mediaType: codec.mediaType,
        isKeyFrame: codec !== codecs.h264 || (header.getUint8(3) & keyFrameFlag) !== 0,
        payload: new Uint8Array(buffer, headerBytes),
    };
}
