import SwanSystem
package import Torch

/// A message between the stages of a pipeline: what it is about, and up to three tensors.
///
/// On the wire a header of constant size comes first, so that the receiver knows every size before
/// it posts a buffer: a longer message than its buffer would end its process.
package struct StageMessage: Sendable {
    /// What a message carries.
    package enum Kind: Int, Sendable {
        /// Latents of the next chunk.
        case chunk
        /// The embeddings of a prompt, numbered.
        case text
        /// Rows to run.
        case work
        /// Rows that have run, noised for their next steps.
        case results
        /// Clean latents of a finished chunk.
        case clean
        /// The decoded frames of a chunk.
        case frames
        /// The blocks of each rank from here on.
        case blocks
        /// The times that ranks have measured.
        case times
        /// Nothing follows.
        case end
        /// Nothing new; sent so that the receiver does not give up.
        case idle
        /// Steps or noise for what follows.
        case plan
        /// The sender has loaded what it needs.
        case ready
    }

    /// One chunk at one denoising step.
    package struct Row: Sendable, Equatable {
        /// The chunk's index in its stream; negative for the zeros that fill the rows at first.
        package var chunk: Int
        /// The position of its first latent frame.
        package var start: Int
        /// The index of the denoising step.
        package var step: Int
        /// The steps that one rank alone would run in the same forward.
        package var company: Range<Int>
        /// The timestep of step 0 in that forward; negative if it does not change.
        package var firstTimestep: Double
        /// The number of the text that the row attends to.
        package var prompt: Int
        /// The number of the noise that is added after the step, modulo 256.
        package var noise = 0

        /// Describes a row.
        package init(
            chunk: Int,
            start: Int,
            step: Int,
            company: Range<Int> = 0..<1,
            firstTimestep: Double = -1,
            prompt: Int
        ) {
            (self.chunk, self.start, self.step) = (chunk, start, step)
            (self.company, self.firstTimestep, self.prompt) = (company, firstTimestep, prompt)
        }
    }

    /// What it carries.
    package var kind: Kind
    /// The map of blocks that it is for; see `BlockMap`.
    package var epoch = 0
    /// The number of the forward in the pipeline.
    package var iteration = 0
    /// The number of what it carries, such as a text's; for work, the oldest text still needed.
    package var number = 0
    /// A property of the work that its receiver defines.
    package var mark = 0
    /// The rows.
    package var rows: [Row] = []
    /// The tensors, at most three, of at most five dimensions.
    package var tensors: [Tensor] = []

    /// Creates a message.
    package init(_ kind: Kind) { self.kind = kind }

    /// The bytes of all tensors.
    package var byteCount: Int { tensors.reduce(0) { $0 + $1.byteCount } }
}

/// The header of a message: its size depends on the number of rows that a stream can have.
package struct StageHeader: Sendable {
    /// The number of 64-bit words.
    package let words: Int
    private let mostRows: Int

    private static let magic = 0x5377_616E_5374_6765
    private static let version = 2
    private static let mostTensors = 3
    private static let fixedWords = 20

    /// A header for messages of at most `rows` rows: 256 bytes for up to four.
    package init(rows: Int) {
        mostRows = rows
        words = max(32, Self.fixedWords + 3 * rows)
    }

    /// The description of a tensor before it arrives.
    struct Extent: Sendable, Equatable {
        var dtype: DType
        var shape: [Int]

        /// The bytes; nil if no tensor can have them.
        var byteCount: Int? {
            var bytes = dtype.size
            for length in shape {
                let (product, overflows) = bytes.multipliedReportingOverflow(by: length)
                guard length >= 0, !overflows else { return nil }
                bytes = product
            }
            return bytes
        }
    }

    // MARK: - Encoding

    func encoded(_ message: StageMessage) throws(SwanError) -> [Int] {
        guard message.rows.count <= mostRows, message.tensors.count <= Self.mostTensors else {
            throw SwanError(
                .invalidArgument,
                "a message of \(message.rows.count) rows and \(message.tensors.count) tensors"
            )
        }
        var words = [
            Self.magic, Self.version | message.kind.rawValue << 32, message.epoch,
            message.iteration, message.number, message.mark,
            message.rows.count | message.tensors.count << 32, message.byteCount,
        ]
        for index in 0..<Self.mostTensors {
            guard index < message.tensors.count else {
                words += [0, 0, 0, 0]
                continue
            }
            words += try Self.words(of: message.tensors[index])
        }
        for row in message.rows { words += try Self.words(of: row) }
        return words + Array(repeating: 0, count: self.words - words.count)
    }

    /// Dtype and rank, then five lengths of 32 bits.
    private static func words(of tensor: Tensor) throws(SwanError) -> [Int] {
        let shape = tensor.shape
        guard shape.count <= 5, shape.allSatisfy({ $0 <= Int(Int32.max) }) else {
            throw SwanError(.invalidArgument, "a tensor \(shape) does not fit a message")
        }
        let sizes = shape + Array(repeating: 0, count: 6 - shape.count)
        return [Int(tensor.dtype.rawValue) | shape.count << 32]
            + (0..<3).map { sizes[2 * $0] | sizes[2 * $0 + 1] << 32 }
    }

    private static func words(of row: StageMessage.Row) throws(SwanError) -> [Int] {
        guard let chunk = Int32(exactly: row.chunk), let start = Int32(exactly: row.start),
            let prompt = UInt32(exactly: row.prompt), row.company.lowerBound >= 0,
            row.company.upperBound < 256, 0..<256 ~= row.step, 0..<256 ~= row.noise
        else {
            throw SwanError(.invalidArgument, "row \(row) does not fit a message")
        }
        let steps =
            row.step | row.company.lowerBound << 8 | row.company.upperBound << 16
            | row.noise << 24
        return [
            Int(UInt32(bitPattern: chunk)) | Int(start) << 32,
            Int(bitPattern: UInt(row.firstTimestep.bitPattern)),
            Int(prompt) | steps << 32,
        ]
    }

    // MARK: - Decoding

    /// Reads a header; the tensors are still to come.
    ///
    /// - Parameter mostBytes: The most bytes that its tensors may have.
    /// - Throws: `invalidData` for anything that no stage of this version would send.
    func decoded(
        _ words: [Int],
        mostBytes: Int
    ) throws(SwanError) -> (message: StageMessage, extents: [Extent]) {
        guard words.count == self.words, words[0] == Self.magic else {
            throw SwanError(.invalidData, "a peer sent something that is no message of a pipeline")
        }
        let version = words[1] & 0xFFFF_FFFF
        guard version == Self.version, let kind = StageMessage.Kind(rawValue: words[1] >> 32) else {
            throw SwanError(
                .invalidData,
                "a peer sent a message of version \(version), kind \(words[1] >> 32); this program "
                    + "knows version \(Self.version): start all ranks with the same program"
            )
        }
        var message = StageMessage(kind)
        (message.epoch, message.iteration) = (words[2], words[3])
        (message.number, message.mark) = (words[4], words[5])
        let (rows, tensors) = (words[6] & 0xFFFF_FFFF, words[6] >> 32)
        guard 0...mostRows ~= rows, 0...Self.mostTensors ~= tensors else {
            throw SwanError(.invalidData, "a peer sent \(rows) rows and \(tensors) tensors")
        }
        message.rows = (0..<rows).map { Self.row(words[(Self.fixedWords + 3 * $0)...]) }
        var extents: [Extent] = []
        for index in 0..<tensors { extents.append(try Self.extent(words[(8 + 4 * index)...])) }
        try Self.check(extents, declared: words[7], mostBytes: mostBytes)
        return (message, extents)
    }

    private static func check(
        _ extents: [Extent],
        declared: Int,
        mostBytes: Int
    ) throws(SwanError) {
        var bytes = 0
        for extent in extents {
            guard let own = extent.byteCount, own <= mostBytes else {
                throw SwanError(
                    .invalidData,
                    "a peer announced a tensor \(extent.shape) of \(extent.dtype); at most "
                        + "\(mostBytes) bytes are expected"
                )
            }
            bytes += own
        }
        guard bytes == declared, bytes <= mostBytes else {
            throw SwanError(
                .invalidData,
                "a peer announced \(declared) bytes for tensors of \(bytes); at most \(mostBytes) "
                    + "are expected"
            )
        }
    }

    private static func extent(_ words: ArraySlice<Int>) throws(SwanError) -> Extent {
        let first = words.startIndex
        let (code, rank) = (words[first] & 0xFFFF_FFFF, words[first] >> 32)
        guard let raw = Int32(exactly: code), let dtype = DType(rawValue: raw), 0...5 ~= rank else {
            throw SwanError(.invalidData, "a peer sent a tensor of unknown type \(code)")
        }
        let sizes = (0..<6).map { (words[first + 1 + $0 / 2] >> ($0 % 2 * 32)) & 0xFFFF_FFFF }
        return Extent(dtype: dtype, shape: Array(sizes.prefix(rank)))
    }

    private static func row(_ words: ArraySlice<Int>) -> StageMessage.Row {
        let first = words.startIndex
        let steps = words[first + 2] >> 32
        let (lower, upper) = ((steps >> 8) & 0xFF, (steps >> 16) & 0xFF)
        var row = StageMessage.Row(
            chunk: Int(Int32(truncatingIfNeeded: words[first])),
            start: words[first] >> 32,
            step: steps & 0xFF,
            company: lower..<max(lower, upper),
            firstTimestep: Double(bitPattern: UInt64(UInt(bitPattern: words[first + 1]))),
            prompt: words[first + 2] & 0xFFFF_FFFF
        )
        row.noise = (steps >> 24) & 0xFF
        return row
    }
}
