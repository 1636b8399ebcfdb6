import CTorch
import Foundation
package import SwanSystem

/// Processes that exchange tensors: c10d's group of one backend.
///
/// All processes of a group call the same collectives in the same order. An operation that a peer
/// does not take part in fails after the group's deadline with `peerFailed`, and the group is then
/// lost: there are no retries.
package final class ProcessGroup: @unchecked Sendable {
    /// The number of this process in the group.
    package let rank: Int
    /// The number of processes.
    package let size: Int
    /// Where the tensors are.
    package let device: Device
    /// What was sent so far.
    package let traffic = Traffic()
    let raw: ct_group

    /// Joins the processes that open a group with the same store.
    ///
    /// - Parameters:
    ///   - device: Where the tensors are: Gloo exchanges those of the CPU, NCCL those of a GPU.
    ///   - address: An address of this process that its peers can reach.
    ///   - deadline: The longest that an operation may take.
    package init(
        _ store: ProcessStore,
        rank: Int,
        size: Int,
        device: Device = .cpu,
        address: String,
        deadline: Duration
    ) throws(SwanError) {
        self.rank = rank
        self.size = size
        self.device = device
        let (own, all, limit) = (Int32(rank), Int32(size), deadline.milliseconds)
        raw = try engine { error in
            switch device {
            case .cpu: ct_group_open_gloo(store.raw, own, all, address, limit, &error)
            case .cuda(let index):
                ct_group_open_nccl(store.raw, own, all, Int32(index), limit, &error)
            }
        }
    }

    deinit { ct_group_release(raw) }

    /// Closes the connections; operations under way fail.
    package func abort() { ct_group_abort(raw) }

    // MARK: - Collectives

    /// Overwrites a tensor with that of one rank.
    package func broadcast(_ tensor: Tensor, from root: Int) throws(SwanError) {
        try startBroadcast(tensor, from: root).wait()
    }

    /// Starts to overwrite a tensor with that of one rank.
    package func startBroadcast(
        _ tensor: Tensor,
        from root: Int
    ) throws(SwanError) -> ProcessWork {
        traffic.count(.broadcast, root == rank ? tensor.byteCount * (size - 1) : 0)
        return try work(tensor) { error in
            ct_broadcast(raw, tensor.handle.raw, Int32(root), &error)
        }
    }

    /// How numbers of several ranks become one.
    package enum Reduction: Int32, Sendable {
        case sum, max, min
    }

    /// Starts to replace a tensor by the reduction over ranks; all ranks get the same bits.
    package func startReduction(
        _ tensor: Tensor,
        _ reduction: Reduction = .sum
    ) throws(SwanError) -> ProcessWork {
        traffic.count(.reduce, 2 * tensor.byteCount * (size - 1) / size)
        return try work(tensor) { error in
            ct_all_reduce(
                raw,
                tensor.handle.raw,
                ct_reduction(rawValue: reduction.rawValue),
                &error
            )
        }
    }

    /// Replaces a tensor by the reduction over ranks; all ranks get the same bits.
    package func reduce(_ tensor: Tensor, _ reduction: Reduction = .sum) throws(SwanError) {
        try startReduction(tensor, reduction).wait()
    }

    /// Returns the parts of all ranks in order, one after the other in dimension 0.
    package func startGather(_ part: Tensor, into whole: Tensor) throws(SwanError) -> ProcessWork {
        traffic.count(.gather, part.byteCount * (size - 1))
        return try work(whole, part) { error in
            ct_all_gather(raw, whole.handle.raw, part.handle.raw, &error)
        }
    }

    /// Starts to sum tensors over ranks and to write this rank's part of the sum, in dimension 0.
    package func startScatteredSum(
        _ whole: Tensor,
        into part: Tensor
    ) throws(SwanError) -> ProcessWork {
        traffic.count(.reduce, part.byteCount * (size - 1))
        return try work(part, whole) { error in
            ct_reduce_scatter(raw, part.handle.raw, whole.handle.raw, &error)
        }
    }

    /// Waits until all ranks have come here.
    package func barrier() throws(SwanError) {
        traffic.count(.barrier, 0)
        try ProcessWork(engine { error in ct_barrier(raw, &error) }, []).wait()
    }

    // MARK: - Messages

    /// Starts to send a tensor to one rank.
    ///
    /// The receiver's tensor must have the same number of bytes: a longer message would end its
    /// process.
    package func startSend(
        _ tensor: Tensor,
        to rank: Int,
        tag: Int
    ) throws(SwanError) -> ProcessWork {
        traffic.count(.send, tensor.byteCount)
        return try work(tensor) { error in
            ct_send(raw, tensor.handle.raw, Int32(rank), Int32(tag), &error)
        }
    }

    /// Starts to overwrite a tensor with one that another rank sends.
    package func startReceive(
        _ tensor: Tensor,
        from rank: Int,
        tag: Int
    ) throws(SwanError) -> ProcessWork {
        try work(tensor) { error in
            ct_receive(raw, tensor.handle.raw, Int32(rank), Int32(tag), &error)
        }
    }

    /// Starts to send elements of `x` [n] to each rank and to write those received to `y` [m], both
    /// in the order of ranks.
    package func startExchange(
        _ x: Tensor,
        sent: [Int],
        into y: Tensor,
        received: [Int]
    ) throws(SwanError) -> ProcessWork {
        try requireCounts(sent, received)
        traffic.count(.exchange, (x.count - sent[rank]) * x.dtype.size)
        return try work(y, x) { error in
            ct_all_to_all(
                raw,
                y.handle.raw,
                x.handle.raw,
                received.map(Int64.init),
                sent.map(Int64.init),
                &error
            )
        }
    }

    // MARK: - Exchanges with gradients

    /// Sends rows of dimension 0 to each rank and returns those received, in the order of ranks.
    ///
    /// The gradient goes the opposite way.
    ///
    /// - Parameters:
    ///   - sent: The number of rows for each rank.
    ///   - received: The number of rows from each rank.
    package func exchanged(
        _ x: Tensor,
        sent: [Int],
        received: [Int]
    ) throws(SwanError) -> Tensor {
        try requireCounts(sent, received)
        let row = x.size(0) == 0 ? 0 : x.byteCount / x.size(0)
        traffic.count(.exchange, row * (x.size(0) - sent[rank]))
        return Tensor(
            owning: try engine { error in
                ct_exchanged(
                    raw,
                    x.handle.raw,
                    received.map(Int64.init),
                    sent.map(Int64.init),
                    &error
                )
            }
        )
    }

    /// Returns the rows of all ranks, one after the other in dimension 0.
    ///
    /// - Parameters:
    ///   - counts: The number of rows of each rank.
    ///   - isSame: Whether all ranks compute the same from the result, so that the gradient is the
    ///     own rows of the result's; otherwise it is their sum over ranks.
    package func gathered(
        _ x: Tensor,
        counts: [Int],
        isSame: Bool
    ) throws(SwanError) -> Tensor {
        try requireCounts(counts, counts)
        traffic.count(.gather, x.byteCount * (size - 1))
        return Tensor(
            owning: try engine { error in
                ct_gathered(raw, x.handle.raw, counts.map(Int64.init), isSame, &error)
            }
        )
    }

    /// Returns the sum over ranks.
    ///
    /// - Parameter isSame: Whether all ranks compute the same from the result, so that the gradient
    ///   is the result's; otherwise it is the sum of all ranks' gradients.
    package func summed(_ x: Tensor, isSame: Bool) throws(SwanError) -> Tensor {
        traffic.count(.reduce, 2 * x.byteCount * (size - 1) / size)
        return Tensor(
            owning: try engine { error in ct_summed(raw, x.handle.raw, isSame, &error) }
        )
    }

    private func requireCounts(_ sent: [Int], _ received: [Int]) throws(SwanError) {
        guard sent.count == size, received.count == size else {
            throw SwanError(
                .invalidArgument,
                "\(sent.count) and \(received.count) counts for a group of \(size) ranks"
            )
        }
    }

    private func work(
        _ tensors: Tensor...,
        start: (inout ct_error) -> ct_work?
    ) throws(SwanError) -> ProcessWork {
        ProcessWork(try engine(start), tensors)
    }
}

/// An operation of a group under way.
///
/// Its tensors must not be used until it is done.
package final class ProcessWork: @unchecked Sendable {
    private let raw: ct_work
    private let tensors: [Tensor]

    init(_ raw: ct_work, _ tensors: [Tensor]) {
        self.raw = raw
        self.tensors = tensors
    }

    deinit { ct_work_release(raw) }

    /// Waits until the result can be used, or the group's deadline has passed.
    package func wait() throws(SwanError) {
        var error = ct_error()
        guard ct_work_wait(raw, 0, &error) else { throw SwanError(taking: &error) }
    }
}
