package import SwanSystem
package import Torch

/// Processes on a grid of data x stages x sequence; ranks of a sequence are neighbours.
///
/// Rank r has the place (data, stage, sequence) with r = (data * stages + stage) * sequence + place
/// in the sequence.
package struct Mesh: Sendable {
    /// The number of processes in each direction.
    package struct Shape: Sendable, Equatable {
        /// Copies of the model on different data.
        package var data: Int
        /// Ranges of the blocks.
        package var stages: Int
        /// Parts of the tokens.
        package var sequence: Int

        /// Creates a shape.
        package init(data: Int = 1, stages: Int = 1, sequence: Int = 1) {
            self.data = data
            self.stages = stages
            self.sequence = sequence
        }

        /// The number of processes.
        package var count: Int { data * stages * sequence }
    }

    /// The directions of a mesh.
    package enum Axis: Sendable, CaseIterable {
        case data, stage, sequence
    }

    /// The shape.
    package let shape: Shape
    /// This process's group in each direction; none where the mesh is one wide.
    package let groups: [Axis: ProcessGroup]

    /// Makes the groups; all processes call this together.
    package init(_ world: World, _ shape: Shape) throws(SwanError) {
        guard shape.count == world.size else {
            throw SwanError(
                .invalidRequest,
                "\(world.size) processes do not make a mesh of \(shape.data) x \(shape.stages) x "
                    + "\(shape.sequence) (data x stages x sequence)"
            )
        }
        self.shape = shape
        var groups: [Axis: ProcessGroup] = [:]
        for axis in Axis.allCases {
            for ranks in Self.lines(shape, along: axis) where ranks.count > 1 {
                if let group = try world.makeGroup(ranks) { groups[axis] = group }
            }
        }
        self.groups = groups
    }

    /// The groups of ranks that differ in one direction alone, in the same order everywhere.
    static func lines(_ shape: Shape, along axis: Axis) -> [[Int]] {
        let count = shape.count
        let (step, length) =
            switch axis {
            case .sequence: (1, shape.sequence)
            case .stage: (shape.sequence, shape.stages)
            case .data: (shape.sequence * shape.stages, shape.data)
            }
        return (0..<count).filter { $0 / step % length == 0 }.map { first in
            (0..<length).map { first + $0 * step }
        }
    }
}
