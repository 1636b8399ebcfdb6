import SwanMedia
import SwanSystem

/// Pictures of a finished video: its first frame, and 25 frames of it in one.
enum Previews {
    private static let tiles = 5
    private static let tileWidth = 192
    private static let quality = 88

    /// Writes both beside the video, which is the server's own.
    static func write(
        of job: VideoJob,
        _ result: JobResult,
        in store: JobStore,
        _ control: JobControl
    ) throws {
        let reader = try VideoReader(path: store.path(job, .video))
        let count = min(tiles * tiles, max(result.frames, 1))
        var wanted = (0..<count).map { $0 * result.frames / count }[...]
        var chosen: [VideoFrame] = []
        var index = 0
        while let next = wanted.first, let frame = try reader.nextFrame() {
            try control.check()
            if index == 0 { try save(frame, store.path(job, .thumbnail)) }
            if index == next {
                let height = max(2, frame.height * tileWidth / max(frame.width, 1))
                chosen.append(try frame.resized(width: tileWidth, height: height))
                wanted = wanted.dropFirst()
            }
            index += 1
        }
        guard !chosen.isEmpty else { throw SwanError(.empty, "the video has no frames") }
        try save(try sheet(chosen), store.path(job, .spritesheet))
    }

    private static func sheet(_ frames: [VideoFrame]) throws(SwanError) -> VideoFrame {
        let (width, height) = (frames[0].width, frames[0].height)
        let columns = min(tiles, frames.count)
        let rows = (frames.count + columns - 1) / columns
        var pixels = [UInt8](repeating: 0, count: 3 * columns * width * rows * height)
        for (index, frame) in frames.enumerated() {
            let corner = (index / columns * height * columns + index % columns) * width
            for row in 0..<height {
                let target = 3 * (corner + row * columns * width)
                let source = 3 * row * width
                pixels.replaceSubrange(
                    target..<target + 3 * width,
                    with: frame.pixels[source..<source + 3 * width]
                )
            }
        }
        return try VideoFrame(width: columns * width, height: rows * height, pixels: pixels)
    }

    private static func save(_ frame: VideoFrame, _ path: String) throws {
        try OutputPath.write(JPEG.encode(frame, quality: quality, chroma: .quarter), to: path)
    }
}
