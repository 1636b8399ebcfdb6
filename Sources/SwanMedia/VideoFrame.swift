/// One picture, upright, with the time at which it is shown.
public struct VideoFrame: Sendable {
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
    /// Red, green, blue; `3 * width * height` bytes, rows from the top without padding.
    public let pixels: [UInt8]
    /// Time since the first frame, in seconds.
    public let seconds: Double

    /// A frame over packed RGB24 bytes; `invalidArgument` where their count is not `3 * width * height`.
    public init(
        width: Int,
        height: Int,
        pixels: [UInt8],
        seconds: Double = 0,
    ) throws(MediaError) {
        let sides = 1...Self.largestSide
        guard sides.contains(width), sides.contains(height), pixels.count == 3 * width * height
        else {
            throw MediaError(
                .invalidArgument,
                "\(pixels.count) bytes are not 3 for each pixel of a frame of \(width)x\(height)",
            )
        }
        self.init(unchecked: pixels, width: width, height: height, seconds: seconds)
    }

    /// A frame whose bytes `fill` writes in place; all `3 * width * height` of them.
    public init<Failure: Error>(
        width: Int,
        height: Int,
        seconds: Double = 0,
        filling fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void,
    ) throws(Failure) {
        let count = 3 * max(width, 0) * max(height, 0)
        var outcome: Result<Void, Failure> = .success(())
        // The array's closure cannot throw our error type: the outcome is carried out of it.
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

    /// The same picture at another time; the pixels are shared.
    public func shown(at seconds: Double) -> VideoFrame {
        VideoFrame(unchecked: pixels, width: width, height: height, seconds: seconds)
    }

    /// Lends the packed RGB24 bytes.
    public func withUnsafeBytes<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try lending(pixels, body)
    }
}

/// Lends the bytes of an array to a body with a typed error.
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
    guard let outcome else { preconditionFailure("an array always lends its bytes") }
    return try outcome.get()
}
