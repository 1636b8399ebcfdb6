import Foundation
import SwanSystem
package import Torch

extension ProcessGroup {
    /// Returns the tensors that rank 0 makes, on the CPU of all ranks.
    ///
    /// Other ranks do not call `make`. If it throws a `CancellationError`, all ranks do; other
    /// errors reach them through `World.run`.
    package func fromFirst(_ make: () throws -> [Tensor]) throws -> [Tensor] {
        let made: [Tensor]?
        do {
            made = rank == 0 ? try make().map { try $0.to(.cpu).contiguous() } : nil
        } catch let error as CancellationError {
            try broadcast(Tensor([-1], [1]), from: 0)
            throw error
        }
        // A receiver must know the size of each message before it comes.
        let description = (made ?? []).flatMap { tensor in
            [Int(tensor.dtype.rawValue), tensor.rank] + tensor.shape
        }
        let length = try shared([description.count], count: 1)[0]
        guard length >= 0 else { throw CancellationError() }
        guard length > 0 else { return [] }
        let numbers = try shared(description, count: length)
        let tensors = try made ?? TensorDescriptions.empty(numbers)
        for tensor in tensors { try broadcast(tensor, from: 0) }
        return tensors
    }

    /// The numbers of rank 0.
    private func shared(_ numbers: [Int], count: Int) throws(SwanError) -> [Int] {
        let tensor = try rank == 0 ? Tensor(numbers, [count]) : .zeros([count], .int64)
        try broadcast(tensor, from: 0)
        return try tensor.array(of: Int.self)
    }

    /// Throws `peersDiffer`, naming both values, unless this rank's values are those of rank 0.
    ///
    /// - Parameter facts: What must be the same, by name.
    package func requireSame(_ facts: KeyValuePairs<String, String>) throws {
        let own = facts.map { [$0.key, $0.value] }
        let bytes = [UInt8](try JSONEncoder().encode(own))
        let sent = try fromFirst { [try Tensor(bytes, [bytes.count])] }
        let data = Data(try sent[0].array(of: UInt8.self))
        let first = try JSONDecoder().decode([[String]].self, from: data)
        for (mine, its) in zip(own, first) where mine != its {
            throw SwanError(
                .peersDiffer,
                "\(mine[0]) is \(mine[1]) on rank \(rank), but \(its[1]) on rank 0; start all "
                    + "ranks with the same program, model and options"
            )
        }
    }
}

/// Tensors as numbers: dtype, rank and sizes of each.
private enum TensorDescriptions {
    static func empty(_ numbers: [Int]) throws(SwanError) -> [Tensor] {
        var tensors: [Tensor] = []
        var rest = numbers[...]
        while let code = rest.popFirst(), let rank = rest.popFirst() {
            guard let dtype = DType(rawValue: Int32(clamping: code)), 0...rest.count ~= rank else {
                throw SwanError(.peersDiffer, "rank 0 described a tensor in another way")
            }
            tensors.append(try .empty(Array(rest.prefix(rank)), dtype))
            rest = rest.dropFirst(rank)
        }
        return tensors
    }
}
