public import Foundation
public import Torch
import SwanSystem

/// A file in Goldens/: weights, inputs and outputs of a reference implementation.
public struct Golden: Sendable {
    /// The file name without its extension.
    public let name: String
    /// The file with the tensors.
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

    /// The configuration as JSON.
    public var configData: Data { get throws { try json("config") } }

    /// The decoded configuration, with the reference's keys in snake_case.
    public func config<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(type, from: configData)
    }

    /// The JSON in the file's metadata under `name`, such as the `trace` of a stream.
    public func json(_ name: String) throws -> Data {
        guard let text = file.metadata[name] else {
            throw SwanError(.invalidFile, "\(file.path): there is no metadata \(name)")
        }
        return Data(text.utf8)
    }

    /// A text in the file's metadata, such as the `seed`.
    public func text(_ name: String) throws -> String {
        String(decoding: try json(name), as: UTF8.self)
    }

    /// The allowed difference from the reference, on the device of the golden.
    public var tolerance: Tolerance {
        get throws { try JSONDecoder().decode(Tolerance.self, from: json("tolerance")).on(device) }
    }

    /// The weights under the keys of the reference checkpoint.
    public var weights: [String: Tensor] { get throws { try weights(named: "weights") } }

    /// The weights in one naming scheme: `weights`, `weights_diffusers`, `weights_hf`.
    public func weights(named naming: String) throws -> [String: Tensor] {
        try tensors(under: naming)
    }

    /// All tensors whose names begin with `prefix/`, by the rest of the name.
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

    /// The names of all tensors in the file.
    public var keys: [String] { file.keys }

    /// An input of the reference.
    public func input(_ name: String) throws -> Tensor {
        try file.tensor("input/\(name)").to(device)
    }

    /// An output of the reference.
    public func output(_ name: String) throws -> Tensor {
        try file.tensor("output/\(name)").to(device)
    }
}

/// A tolerance: `|actual - expected| <= absolute + relative * |expected|`.
public struct Tolerance: Sendable, Decodable {
    /// The absolute part.
    public let absolute: Double
    /// The part relative to the expected number.
    public let relative: Double

    /// Creates a tolerance.
    public init(absolute: Double, relative: Double) {
        self.absolute = absolute
        self.relative = relative
    }
}
