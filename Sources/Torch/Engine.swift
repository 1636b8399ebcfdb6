import CTorch
import Foundation
public import SwanSystem
import Synchronization

/// The engine under all tensors: its version, its threads, the GPUs it sees.
public enum Engine {
    /// libtorch's version.
    public static var version: String { String(cString: ct_version()) }

    /// The instruction set of the engine's own CPU kernels, such as `AVX2` or `AVX512`.
    public static var cpuCapability: String { String(cString: ct_cpu_capability()) }

    /// Whether the processor has instructions for products of a dtype.
    public static func multiplies(_ dtype: DType) -> Bool { ct_multiplies(dtype.rawValue) }

    /// Whether the processor multiplies matrices of bfloat16 by tiles (AMX), for which Swan has kernels.
    public static let hasTiles = ct_has_tiles()

    /// How many threads an operator may use on the CPU that the calling thread calls; see `ComputeBudget`.
    public static var threads: Int { Int(ct_threads()) }

    /// What the process may have.
    static var mostThreads: Int { processLimit.withLock { $0 } }
    private static let processLimit = Mutex(Int(Int32.max))

    /// Has the process keep the memory of tensors it frees, for the next ones, for as long as it runs.
    ///
    /// A program that makes the same large tensors over and over otherwise asks the system for fresh,
    /// zeroed pages each time, a seventh of the time a large autoencoder takes.
    public static func keepFreedMemory() { ct_keep_freed_memory(true) }

    /// Has the process give the memory of tensors it frees back to the system at once.
    ///
    /// Where memory is short: blocks of many sizes that are kept leave gaps between them, which can
    /// come to several times what is in use (glibc up to 2.37).
    public static func returnFreedMemory() { ct_keep_freed_memory(false) }

    /// Fits the engine to what this process may have: where address space is short (`ulimit -v`), or
    /// threads are, one thread works, and freed memory is given back. To be called first of all.
    ///
    /// OpenMP ends the process when it gets no thread; each one also reserves address space, for its
    /// stack and for what it allocates, far beyond what it uses.
    ///
    /// - Returns: whether it did, for a note.
    @discardableResult
    public static func fitLimits() -> Bool {
        let isShort = AddressSpace.free.map { $0 < roomForThreads } ?? false
        guard isShort || !canStart(threads: 4 * threads + 8) else {
            keepFreedMemory()
            return false
        }
        ct_use_one_arena()
        processLimit.withLock { $0 = 1 }
        ct_set_threads(1)
        return true
    }

    /// Address space with which threads are not counted: 4 GB and 256 MB for each.
    private static var roomForThreads: Int { 4 << 30 + threads << 28 }

    /// Whether the system gives so many threads at a time: the pools of a stream's stages and more.
    private static func canStart(threads count: Int) -> Bool {
        let gate = NSCondition()
        nonisolated(unsafe) var isOpen = false
        nonisolated(unsafe) var left = 0
        var canStart = true
        for _ in 0..<count where canStart {
            do throws(SwanError) {
                gate.withLock { left += 1 }
                try startThread("swan.probe") {
                    gate.withLock {
                        while !isOpen { gate.wait() }
                        left -= 1
                        gate.broadcast()
                    }
                }
            } catch {
                gate.withLock { left -= 1 }
                canStart = false
            }
        }
        gate.withLock {
            isOpen = true
            gate.broadcast()
            while left > 0 { gate.wait() }
        }
        return canStart
    }

    /// The number of GPUs; the CUDA half of the engine is loaded when a driver is there.
    public static func gpuCount() throws(SwanError) -> Int {
        var error = ct_error()
        let count = ct_cuda_device_count(&error)
        guard count >= 0 else {
            throw SwanError(.deviceUnavailable, SwanError(taking: &error).message)
        }
        return Int(count)
    }

    /// Whether a GPU may round the factors of float32 convolutions to 10 bits (TF32), as the engine has
    /// it, and PyTorch with it, unless told otherwise. Matrix products are exact in either case.
    public static var allowsTF32: Bool {
        get { ct_allows_tf32() }
        set { ct_allow_tf32(newValue) }
    }

    /// What a GPU is called, such as `NVIDIA H100 80GB HBM3`; nil for the CPU and where nobody tells.
    public static func name(of device: Device) -> String? {
        guard case .cuda(let index) = device else { return nil }
        var name = [CChar](repeating: 0, count: 256)
        guard ct_cuda_name(Int32(index), &name, Int32(name.count)) else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Waits until the device has done all it was given; the CPU has nothing to wait for.
    public static func synchronize(_ device: Device) throws(SwanError) {
        guard case .cuda(let index) = device else { return }
        var error = ct_error()
        guard ct_cuda_synchronize(Int32(index), &error) else { throw SwanError(taking: &error) }
    }

    /// Lets threads that wait for their share of an operator sleep instead of spin, from now on, in the
    /// whole process: for a program to call at its start, not for a library.
    ///
    /// For a process whose other threads decode and encode: while they run, a spinning thread keeps
    /// the one it waits for from its core, and a stream is up to 20 times slower. libgomp reads its
    /// own setting before a program's first line, but it also spins less as soon as it has more
    /// threads than there are cores: those of a second caller, which are never used again.
    public static func sleepWhileWaiting() {
        // Who works alone waits for nobody.
        if threads > 1 { _ = secondCaller }
    }

    private static let secondCaller: Void = {
        let work: @Sendable () -> Void = {
            // Enough elements that every thread gets some.
            let sum = Result { () throws(SwanError) in
                try Tensor.ones([threads * 65_536]) + 1
            }
            guard case .success = sum else { return }
            while true { sleep(.max) }
        }
        do throws(SwanError) {
            try startThread("swan.openmp", work)
        } catch {
            // Threads that spin are slow, not wrong.
        }
    }()
}
