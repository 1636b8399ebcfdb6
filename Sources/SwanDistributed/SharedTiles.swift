import SwanModels
package import SwanSystem
package import Torch

/// The tiles of an image, computed one by each rank; all ranks get all results.
package struct SharedTiles: TileSharing {
    private let group: ProcessGroup
    private let shapes: ProcessGroup

    /// Divides tiles among the ranks of a group.
    ///
    /// - Parameter shapes: The same ranks, for tensors on the CPU.
    package init(_ group: ProcessGroup, shapes: ProcessGroup) {
        self.group = group
        self.shapes = shapes
    }

    /// The number of ranks.
    package var width: Int { group.size }

    /// The results of up to `width` tiles [B, C, T, H, W], of any shapes.
    package func results(
        of tiles: Range<Int>,
        _ computed: (_ tile: Int) throws(SwanError) -> Tensor
    ) throws(SwanError) -> [Tensor] {
        let own = tiles.lowerBound + group.rank
        let result = tiles.contains(own) ? try computed(own) : nil
        // Ranks without a tile do not know the shapes and the dtype.
        let header = result.map { $0.shape + [Int($0.dtype.rawValue)] } ?? [0, 0, 0, 0, 0, 0]
        let headers = try Tensor.empty([group.size * header.count], .int64)
        try shapes.startGather(Tensor(header, [header.count]), into: headers).wait()
        let numbers = try headers.array(of: Int.self)
        let shapes = (0..<tiles.count).map { place in
            Array(numbers[place * header.count..<place * header.count + 5])
        }
        guard let dtype = DType(rawValue: Int32(numbers[5])) else {
            throw SwanError(.peersDiffer, "rank 0 sent a tile of an unknown dtype")
        }
        var counts = shapes.map { $0.reduce(1, *) }
        counts += Array(repeating: 0, count: group.size - counts.count)
        let flat =
            if let result {
                try result.reshaped([-1])
            } else {
                try Tensor.empty([0], dtype, group.device)
            }
        let all = try group.gathered(flat, counts: counts, isSame: true)
        return try zip(all.split(counts, dim: 0), shapes).map { part, shape throws(SwanError) in
            try part.reshaped(shape)
        }
    }
}
