public import Foundation
public import Torch
import SwanSystem

/// One file of Goldens/: a reference implementation's weights, inputs and outputs.
public struct Golden: Sendable {
    /// The file's name without its ending.
    public let name: String
    /// Where its tensors are.
    public let device: Device
    private let file: SafetensorsFile

    /// Opens `Goldens/<name>.safetensors`.
    public init(_ name: String, on device: Device = .cpu) throws {
        self.name = name
        self.device = device
        file = try SafetensorsFile(path: Self.path("\(name).safetensors"))
    }

    /// The path of a file in Goldens/.
    public static func path(_ file: String) -> String {
        URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Goldens").appendingPathComponent(
                file
            )
            .path
    }

    /// The configuration as JSON, for a decoder.
    public var configData: Data { get throws { try json("config") } }

    /// The configuration. Keys are the reference's own, in snake_case.
    public func config<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(type, from: configData)
    }

    /// JSON that the file carries under `name`, such as a stream's `trace`.
    public func json(_ name: String) throws -> Data {
        guard let text = file.metadata[name] else {
            throw SwanError(.invalidFile, "\(file.path): there is no metadata \(name)")
        }
        return Data(text.utf8)
    }

    /// What the golden's makers allow between ours and theirs, on the golden's device.
    public var tolerance: Tolerance {
        get throws { try JSONDecoder().decode(Tolerance.self, from: json("tolerance")).on(device) }
    }

    /// The weights under the reference checkpoint's own keys.
    public var weights: [String: Tensor] { get throws { try weights(named: "weights") } }

    /// The weights of one naming: `weights`, `weights_diffusers`, `weights_hf`.
    public func weights(named naming: String) throws -> [String: Tensor] {
        try tensors(under: naming)
    }

    /// All tensors whose names begin with `prefix/`, without it.
    public func tensors(under prefix: String) throws -> [String: Tensor] {
        var found: [String: Tensor] = [:]
        for key in file.keys where key.hasPrefix(prefix + "/") {
            found[String(key.dropFirst(prefix.count + 1))] = try file.tensor(key).to(device)
        }
        guard !found.isEmpty else {
            throw SwanError(.invalidFile, "\(file.path): there are no tensors under \(prefix)/")
        }
        return found
    }

    /// The names of all tensors, as in the file.
    public var keys: [String] { file.keys }

    /// Something that went into the reference.
    public func input(_ name: String) throws -> Tensor {
        try file.tensor("input/\(name)").to(device)
    }

    /// Something that came out of the reference.
    public func output(_ name: String) throws -> Tensor {
        try file.tensor("output/\(name)").to(device)
    }
}

/// Allowed: `|actual - expected| <= absolute + relative * |expected|`.
public struct Tolerance: Sendable, Decodable {
    /// What is allowed whatever the size of the expected number.
    public let absolute: Double
    /// What is allowed for each unit of the expected number.
    public let relative: Double

    /// A tolerance of both kinds.
    public init(absolute: Double, relative: Double) {
        self.absolute = absolute
        self.relative = relative
    }
}
