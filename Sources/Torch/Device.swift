import CTorch
public import SwanSystem

/// The device that holds a tensor's elements.
public enum Device: Sendable, Hashable, CustomStringConvertible {
    case cpu
    case cuda(Int)

    /// `cpu`, or `cuda:` and the index.
    public var description: String {
        switch self {
        case .cpu: "cpu"
        case .cuda(let index): "cuda:\(index)"
        }
    }

    /// Parses the name of a device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`.
    public init(named name: String) throws(SwanError) {
        switch name {
        case "cpu": self = .cpu
        case "auto": self = try Engine.gpuCount() > 0 ? .cuda(0) : .cpu
        case "cuda": self = try Self.gpu(0)
        default:
            guard name.hasPrefix("cuda:"), let index = Int(name.dropFirst(5)), index >= 0 else {
                throw SwanError(
                    .invalidArgument,
                    "unknown device '\(name)': use auto, cpu, cuda or cuda:N"
                )
            }
            self = try Self.gpu(index)
        }
    }

    private static func gpu(_ index: Int) throws(SwanError) -> Device {
        let count = try Engine.gpuCount()
        guard index < count else {
            throw SwanError(
                .deviceUnavailable,
                count == 0
                    ? "no GPU was found: use --device cpu, or see 'swan doctor'"
                    : "there is no GPU \(index): this machine has \(count), counted from 0"
            )
        }
        return .cuda(index)
    }

    /// libtorch's `DeviceType`.
    var type: Int32 {
        switch self {
        case .cpu: 0
        case .cuda: 1
        }
    }

    var index: Int32 {
        switch self {
        case .cpu: -1
        case .cuda(let index): Int32(index)
        }
    }

    /// The encoding of a device in the C interface.
    var packed: Int64 { Int64(type) << 8 | Int64(index + 1) }

    init(type: Int32, index: Int32) {
        self = type == 1 ? .cuda(Int(max(index, 0))) : .cpu
    }
}
