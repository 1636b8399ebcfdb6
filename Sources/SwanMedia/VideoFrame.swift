public import SwanSystem
/// An upright RGB image with its display time.
public struct VideoFrame: Sendable {
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
    /// Red, green, blue; `3 * width * height` bytes, rows from the top without padding.
    public let pixels: [UInt8]
    /// Time since the first frame, in seconds.
    public let seconds: Double

    /// Creates a frame from packed RGB24 bytes. Throws `invalidArgument` unless there are `3 *
    /// width * height`.
    public init(
        width: Int,
        height: Int,
        pixels: [UInt8],
        seconds: Double = 0,
    ) throws(SwanError) {
        let sides = 1...Self.maxSide
        guard sides.contains(width), sides.contains(height), pixels.count == 3 * width * height
        else {
            throw SwanError(
                .invalidArgument,
                "\(pixels.count) bytes do not match a frame of \(width)x\(height) with 3 bytes per pixel",
            )
        }
        self.init(unchecked: pixels, width: width, height: height, seconds: seconds)
    }

    /// Creates a frame whose `3 * width * height` bytes `fill` writes in place.
    public init<Failure: Error>(
        width: Int,
        height: Int,
        seconds: Double = 0,
        filling fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void,
    ) throws(Failure) {
        let count = 3 * max(width, 0) * max(height, 0)
        var outcome: Result<Void, Failure> = .success(())
        // The array's closure cannot throw a typed error, so the outcome is passed out of it.
        let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            let bytes = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
            do throws(Failure) {
                try fill(bytes)
                initialized = count
            } catch {
                outcome = .failure(error)
            }
        }
        try outcome.get()
        self.init(unchecked: pixels, width: width, height: height, seconds: seconds)
    }

    private init(unchecked pixels: [UInt8], width: Int, height: Int, seconds: Double) {
        self.width = width
        self.height = height
        self.pixels = pixels
        self.seconds = seconds
    }

    /// The same frame at another time; the pixels are shared.
    public func shown(at seconds: Double) -> VideoFrame {
        VideoFrame(unchecked: pixels, width: width, height: height, seconds: seconds)
    }

    /// Calls `body` with the packed RGB24 bytes.
    public func withUnsafeBytes<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try lending(pixels, body)
    }
}

/// Calls a closure that throws a typed error with the bytes of an array.
func lending<Value, Failure: Error>(
    _ array: [UInt8],
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
) throws(Failure) -> Value {
    var outcome: Result<Value, Failure>?
    array.withUnsafeBytes { bytes in
        do throws(Failure) {
            outcome = .success(try body(bytes))
        } catch {
            outcome = .failure(error)
        }
    }
    guard let outcome else { preconditionFailure("withUnsafeBytes always calls its closure") }
    return try outcome.get()
}
