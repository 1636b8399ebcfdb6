import CTorch

/// The engine under all tensors: its version, its threads, the GPUs it sees.
public enum Engine {
    /// libtorch's version.
    public static var version: String { String(cString: ct_version()) }

    /// The instruction set of the engine's own CPU kernels, such as `AVX2` or `AVX512`.
    public static var cpuCapability: String { String(cString: ct_cpu_capability()) }

    /// How many threads an operator may use on the CPU.
    public static var threads: Int {
        get { Int(ct_threads()) }
        set { ct_set_threads(Int32(newValue)) }
    }

    /// The number of GPUs; the CUDA half of the engine is loaded when a driver is there.
    public static func gpuCount() throws(TorchError) -> Int {
        var error = ct_error()
        let count = ct_cuda_device_count(&error)
        guard count >= 0 else {
            throw TorchError(.deviceUnavailable, TorchError(taking: &error).message)
        }
        return Int(count)
    }

    /// Waits until the device has done all it was given; the CPU has nothing to wait for.
    public static func synchronize(_ device: Device) throws(TorchError) {
        guard case .cuda(let index) = device else { return }
        var error = ct_error()
        guard ct_cuda_synchronize(Int32(index), &error) else { throw TorchError(taking: &error) }
    }
}
