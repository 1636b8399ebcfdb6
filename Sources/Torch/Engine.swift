import CTorch
import Foundation
public import SwanSystem
import Synchronization

/// The engine behind all tensors: its version, its threads, and the available GPUs.
public enum Engine {
    /// The version of libtorch.
    public static var version: String { String(cString: ct_version()) }

    /// The instruction set of the engine's own CPU kernels, such as `AVX2` or `AVX512`.
    public static var cpuCapability: String { String(cString: ct_cpu_capability()) }

    /// Whether the processor has instructions for products of a dtype.
    public static func multiplies(_ dtype: DType) -> Bool { ct_multiplies(dtype.rawValue) }

    /// Whether the processor multiplies bfloat16 matrices with tiles (AMX), for which Swan has
    /// kernels.
    public static let hasTiles = ct_has_tiles()

    /// The number of threads of CPU operators called from this thread; see `ComputeBudget`.
    public static var threads: Int { Int(ct_threads()) }

    /// The maximum number of threads in this process.
    static var mostThreads: Int { processLimit.withLock { $0 } }
    private static let processLimit = Mutex(Int(Int32.max))

    /// Makes the process keep the memory of freed tensors for reuse, for as long as it runs.
    ///
    /// A program that repeatedly allocates large tensors of the same size otherwise requests fresh,
    /// zeroed pages each time, which takes a seventh of the time of a large autoencoder.
    public static func keepFreedMemory() { ct_keep_freed_memory(true) }

    /// Makes the process return the memory of freed tensors to the system immediately.
    ///
    /// For use when memory is short: retained blocks of many sizes leave gaps between them, which
    /// can add up to several times the memory in use (glibc up to 2.37).
    public static func returnFreedMemory() { ct_keep_freed_memory(false) }

    /// Adapts the engine to the limits of this process. Call it before anything else.
    ///
    /// If address space (`ulimit -v`) or threads are limited, a single thread is used, and freed
    /// memory is returned to the system. OpenMP terminates the process if it cannot create a
    /// thread; each thread also reserves far more address space than it uses, for its stack and its
    /// allocations.
    ///
    /// - Returns: Whether the engine was restricted, for a notice.
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

    /// The address space below which a single thread is used: 4 GB and 256 MB per thread.
    private static var roomForThreads: Int { 4 << 30 + threads << 28 }

    /// Whether the system can run `count` threads at a time, the pools of a stream's stages
    /// included.
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

    /// The number of GPUs; loads the CUDA half of the engine if a driver is installed.
    public static func gpuCount() throws(SwanError) -> Int {
        var error = ct_error()
        let count = ct_cuda_device_count(&error)
        guard count >= 0 else {
            throw SwanError(.deviceUnavailable, SwanError(taking: &error).message)
        }
        return Int(count)
    }

    /// Whether a GPU may round the operands of float32 convolutions to 10 mantissa bits (TF32).
    ///
    /// This is the default of the engine and of PyTorch. Matrix products are exact in either case.
    public static var allowsTF32: Bool {
        get { ct_allows_tf32() }
        set { ct_allow_tf32(newValue) }
    }

    /// The name of a GPU, such as `NVIDIA H100 80GB HBM3`; nil for the CPU or if the name is not
    /// available.
    public static func name(of device: Device) -> String? {
        guard case .cuda(let index) = device else { return nil }
        var name = [CChar](repeating: 0, count: 256)
        guard ct_cuda_name(Int32(index), &name, Int32(name.count)) else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Waits until the device has finished all submitted work; on the CPU there is nothing to wait
    /// for.
    public static func synchronize(_ device: Device) throws(SwanError) {
        guard case .cuda(let index) = device else { return }
        var error = ct_error()
        guard ct_cuda_synchronize(Int32(index), &error) else { throw SwanError(taking: &error) }
    }

    /// Makes threads that wait for their share of an operator sleep instead of spin, from now on
    /// and in the whole process: for a program to call at its start, not for a library.
    ///
    /// For a process whose other threads decode and encode video: there, a spinning thread keeps
    /// the one it waits for off its core, which makes a stream up to 20 times slower. libgomp reads
    /// its own setting before a program's first line, but it also spins less once it has more
    /// threads than there are cores: this creates those of a second caller, which are never used
    /// again.
    public static func sleepWhileWaiting() {
        // A single thread does not wait for others.
        if threads > 1 { _ = secondCaller }
    }

    private static let secondCaller: Void = {
        let work: @Sendable () -> Void = {
            // Enough elements for every thread to get a share.
            let sum = Result { () throws(SwanError) in
                try Tensor.ones([threads * 65_536]) + 1
            }
            guard case .success = sum else { return }
            while true { sleep(.max) }
        }
        do throws(SwanError) {
            try startThread("swan.openmp", work)
        } catch {
            // Spinning threads are slow, but not an error.
        }
    }()
}
