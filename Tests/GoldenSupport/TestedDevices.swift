import SwanSystem
public import Torch

extension Device {
    /// The devices that networks are tested on: the CPU, and a GPU if there is one.
    ///
    /// Also makes the GPU use exact convolutions from then on.
    public static let tested: [Device] = {
        Engine.allowsTF32 = false
        let count = Result { () throws(SwanError) in try Engine.gpuCount() }
        guard case .success(1...) = count else { return [.cpu] }
        return [.cpu, .cuda(0)]
    }()
}

extension Tolerance {
    /// The tolerance for a device: a GPU adds in another order and has other implementations of functions.
    public func on(_ device: Device) -> Tolerance {
        let factor: Double = device == .cpu ? 1 : 10
        return Tolerance(absolute: factor * absolute, relative: factor * relative)
    }
}
