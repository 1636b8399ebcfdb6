public import Torch
public import SwanSystem

/// The past keys and values of several streams, for every block of a causal transformer.
///
/// The pool has a fixed number of rows. A stream acquires the rows that it needs, one for each
/// denoising step that runs concurrently, and releases them when it ends. Each row is a ring of
/// slots, one per latent frame: a new frame overwrites a slot in place, and nothing is rolled,
/// cloned or grown, because attention does not depend on the order of keys, and a key contains its
/// position.
public struct KVCachePool: ~Copyable {
    /// The number of rows of the pool.
    public private(set) var rowCount: Int
    /// The capacity of a row in latent frames.
    public let framesPerRow: Int
    /// The transformer blocks that the pool serves.
    public internal(set) var blockRange: Range<Int>
    var blocks: [BlockCache]
    private var rows: [Row]
    private var leases = 0

    private struct Row {
        /// The lease under which the row is in use; nil if it is free.
        var lease: Int?
        var options = KVCacheOptions(frames: 0, sinkFrames: 0)
        /// Whether the row contains data of a previous owner.
        var isUsed = false
    }

    /// Creates a pool of free rows.
    ///
    /// - Parameters:
    ///   - rows: The number of rows.
    ///   - frames: The capacity of each row in latent frames.
    ///   - tokensPerFrame: The number of tokens of a latent frame.
    ///   - range: The blocks of an instance of the transformer that holds only some of them; nil
    ///     for all.
    public init(
        _ config: WanConfig,
        rows: Int,
        frames: Int,
        tokensPerFrame: Int,
        blocks range: Range<Int>? = nil,
        dtype: DType = .float32,
        device: Device = .cpu
    ) throws(SwanError) {
        rowCount = rows
        framesPerRow = frames
        self.rows = Array(repeating: Row(), count: rows)
        blockRange = range ?? 0..<config.layers
        blocks = []
        for _ in blockRange {
            let shape = [rows, config.heads, frames * tokensPerFrame, config.headDim]
            blocks.append(
                try BlockCache(shape, tokensPerFrame: tokensPerFrame, dtype: dtype, device: device)
            )
        }
    }

    /// The size of all keys and values in bytes.
    public var byteCount: Int {
        blocks.reduce(0) { $0 + $1.keys.byteCount + $1.values.byteCount }
    }

    /// The number of rows that can be acquired.
    public var freeRowCount: Int { rows.count { $0.lease == nil } }

    // MARK: - Leases

    /// Acquires empty rows for a stream, adjacent if possible.
    ///
    /// Throws if fewer are free, or if the options ask for more frames than the capacity of a row.
    public mutating func acquireRows(
        _ count: Int,
        options: KVCacheOptions
    ) throws(SwanError) -> [CacheRow] {
        guard options.frames <= framesPerRow else {
            throw SwanError(
                .invalidArgument,
                "\(options.frames) latent frames do not fit rows of \(framesPerRow) in the KV cache"
            )
        }
        let free = rows.indices.filter { rows[$0].lease == nil }
        guard count <= free.count else {
            throw SwanError(
                .invalidArgument,
                "\(count) rows of the KV cache are needed; \(free.count) of \(rowCount) are free"
            )
        }
        let starts = 0...(free.count - count)
        let start = starts.first { count == 0 || free[$0 + count - 1] - free[$0] == count - 1 } ?? 0
        let acquired = Array(free[start..<start + count])
        for row in acquired where rows[row].isUsed {
            for block in blocks { try block.erase(row) }
            rows[row].isUsed = false
        }
        leases += 1
        for row in acquired {
            rows[row] = Row(lease: leases, options: options)
            for block in blocks.indices { blocks[block].begin(row, options) }
        }
        return acquired.map { CacheRow(index: $0, lease: leases) }
    }

    /// Releases rows; their contents are erased before they are acquired again.
    public mutating func releaseRows(_ released: [CacheRow]) throws(SwanError) {
        for row in released { rows[try index(of: row)] = Row(isUsed: true) }
    }

    /// Empties rows, which their stream keeps.
    ///
    /// - Parameter passes: The passes of each chunk over one row, until rows are spread again.
    public mutating func clearRows(_ cleared: [CacheRow], passes: Int) throws(SwanError) {
        for row in cleared {
            let index = try index(of: row)
            rows[index].options.passes = passes
            for block in blocks.indices {
                try blocks[block].erase(index)
                blocks[block].begin(index, rows[index].options)
            }
        }
    }

    /// Copies a row to others of the same stream; from then on each holds one denoising step.
    public mutating func spread(_ row: CacheRow, over others: [CacheRow]) throws(SwanError) {
        let source = try index(of: row)
        rows[source].options.passes = 1
        for other in others where other != row {
            let target = try index(of: other)
            rows[target].options.passes = 1
            for block in blocks.indices { try blocks[block].copy(source, to: target) }
        }
    }

    /// Copies the history of one row to rows of any stream, which keep their options.
    ///
    /// The options must ask for the same number of frames and sinks.
    public mutating func copyHistory(
        of row: CacheRow,
        to others: [CacheRow]
    ) throws(SwanError) {
        let source = try index(of: row)
        for other in others where other != row {
            let target = try index(of: other)
            let passes = rows[target].options.passes
            for block in blocks.indices {
                try blocks[block].copy(source, to: target, passes: passes)
            }
        }
    }

    /// Adds free rows until there are `count`; rows in use keep their contents and handles.
    public mutating func grow(to count: Int) throws(SwanError) {
        let added = count - rowCount
        guard added > 0 else { return }
        var larger: [BlockCache] = []
        for block in blocks { larger.append(try block.grown(by: added)) }
        blocks = larger
        rows += Array(repeating: Row(), count: added)
        rowCount = count
    }

    /// Rearranges the slots of rows for chunks of a different number of latent frames.
    public mutating func layOut(
        _ changed: [CacheRow],
        framesPerChunk: Int
    ) throws(SwanError) {
        for row in changed {
            let index = try index(of: row)
            for block in blocks.indices {
                blocks[block].layOut(index, framesPerChunk: framesPerChunk)
            }
        }
    }

    func index(of row: CacheRow) throws(SwanError) -> Int {
        guard rows.indices.contains(row.index), rows[row.index].lease == row.lease else {
            throw SwanError(.invalidArgument, "row \(row.index) of the KV cache was released")
        }
        return row.index
    }

    // MARK: - Forward passes

    /// The places for one forward pass: each row stores a chunk that begins at a frame of its
    /// stream.
    func places(
        _ used: [CacheRow],
        firstFrames: [Int],
        frames: Int
    ) throws(SwanError) -> [CachePlace] {
        guard used.count == firstFrames.count, Set(used).count == used.count else {
            throw SwanError(
                .invalidArgument,
                "\(firstFrames.count) chunks for \(Set(used).count) distinct rows of the KV cache"
            )
        }
        var places: [CachePlace] = []
        for (row, first) in zip(used, firstFrames) {
            let index = try index(of: row)
            places.append(
                CachePlace(
                    row: index,
                    firstFrame: first,
                    frames: frames,
                    options: rows[index].options
                )
            )
        }
        return places
    }

    /// Stores keys and values [B, L, N, D] at `places` and attends to everything stored in their
    /// rows.
    mutating func attend(
        _ block: Int,
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        _ places: [CachePlace]
    ) throws(SwanError) -> Tensor {
        guard blockRange.contains(block) else {
            throw SwanError(
                .invalidArgument,
                "the KV cache is for blocks \(blockRange), not for block \(block)"
            )
        }
        return try blocks[block - blockRange.lowerBound].attend(q, k, v, places)
    }
}

/// A row of a `KVCachePool`, valid while a stream holds it.
public struct CacheRow: Sendable, Hashable {
    let index: Int
    /// Distinguishes successive owners of the row.
    let lease: Int
}

/// The size and the eviction rules of a KV cache's rows.
public struct KVCacheOptions: Sendable, Equatable {
    /// The number of latent frames in a row.
    public var frames: Int
    /// The number of first frames that are kept.
    public var sinkFrames: Int
    /// The similarity below which a sink frame is replaced by a new one; -1 for never.
    public var sinkThreshold: Double
    /// The number of passes of each chunk over one row: the number of steps, until rows are spread.
    public var passes: Int
    /// Whether a chunk's last pass is on its clean content, whose keys replace those of its steps.
    ///
    /// Then all passes of a chunk use the same slots, also those of the chunk that fills the row,
    /// and the first chunk is kept only if there are sinks: rules of StreamDiffusionV2 that differ
    /// are for keys of its batches.
    public var endsClean: Bool

    /// Creates the options.
    public init(
        frames: Int,
        sinkFrames: Int,
        sinkThreshold: Double = -1,
        passes: Int = 1,
        endsClean: Bool = false
    ) {
        self.endsClean = endsClean
        self.frames = frames
        self.sinkFrames = sinkFrames
        self.sinkThreshold = sinkThreshold
        self.passes = passes
    }

    /// Whether chunks of `frames` latent frames may overwrite a sink.
    func refreshesSinks(frames: Int) -> Bool {
        sinkFrames > 0 && sinkThreshold > -1 && frames == 1
    }
}

/// The place of a chunk of a batch in the cache.
struct CachePlace {
    let row: Int
    /// The position of the chunk's first latent frame in its stream.
    let firstFrame: Int
    let frames: Int
    let options: KVCacheOptions
}
