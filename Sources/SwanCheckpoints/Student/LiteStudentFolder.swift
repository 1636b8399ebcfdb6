import Foundation
package import SwanModels
package import SwanSystem
package import Torch
import TorchNN

/// A folder with a student for pictures: `config.json`, `diffusion_pytorch_model.safetensors` and,
/// if the student has fewer channels than the autoencoder, `output_proj.safetensors` and
/// `input_proj.safetensors`. The other parts are those of its teacher.
package struct LiteStudentFolder: Sendable {
    /// The folder's path.
    package let path: String
    /// The sizes of the network.
    package let config: LiteStudentConfig
    /// How it makes pictures.
    package let sampling: StudentSampling

    /// The names of the files; the second ones are those of older students.
    private static let configNames = ["config.json", "student_config.json"]
    private static let weightNames = [
        "diffusion_pytorch_model.safetensors", "diffusion_model.safetensors",
    ]
    private static let outputName = "output_proj.safetensors"
    private static let inputName = "input_proj.safetensors"

    /// What tells the configuration of a student from others.
    private struct Mark: Decodable {
        let model_type, _class_name: String?
        let hidden_size, num_channels, text_encoder_output_dim: Int?

        var isStudent: Bool {
            let names = [model_type, _class_name].compactMap { $0 }
            if names.contains(where: { $0.hasSuffix("WanLiteStudent") }) { return true }
            return hidden_size != nil && num_channels != nil && text_encoder_output_dim != nil
        }
    }

    /// Opens a folder; returns nil if it has no student. No weights are read.
    ///
    /// - Throws: `invalidModel` with the file and the key if the configuration cannot be used.
    package init?(_ path: String) throws(SwanError) {
        let files = Self.configNames.map { path + "/" + $0 }
        guard let file = files.first(where: { Self.isStudent($0) }) else { return nil }
        self.path = path
        do {
            let data = try SmallFile.data(file)
            config = try JSONDecoder().decode(LiteStudentConfig.self, from: data)
            sampling = try JSONDecoder().decode(StudentSampling.self, from: data)
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(file): cannot read the student's configuration: "
                    + "\(error)".printable(limit: 1_000)
            )
        }
    }

    private static func isStudent(_ file: String) -> Bool {
        guard FileIdentity(file)?.isRegularFile ?? false, let data = try? SmallFile.data(file),
            let mark = try? JSONDecoder().decode(Mark.self, from: data)
        else { return false }
        return mark.isStudent
    }

    /// Loads the student. Every key must match.
    package func load(_ dtype: DType, _ device: Device) throws(SwanError) -> ProjectedStudent {
        let files = Self.weightNames.map { path + "/" + $0 }
        guard let file = files.first(where: { FileIdentity.isTaken($0) }) else {
            throw SwanError(.invalidModel, "\(path): has no \(Self.weightNames[0])")
        }
        var tensors = try Self.tensors(file, under: ProjectedStudent.paths.student)
        var lift: Tensor?
        if config.channels != sampling.latentChannels {
            let output = path + "/" + Self.outputName
            guard FileIdentity.isTaken(output) else {
                throw SwanError(
                    .invalidModel,
                    "\(path): has no \(Self.outputName), but the student has \(config.channels) "
                        + "channels and the autoencoder \(sampling.latentChannels)"
                )
            }
            tensors.merge(try Self.tensors(output, under: ProjectedStudent.paths.output)) { a, _ in
                a
            }
            if !sampling.isParity { lift = try readLift() }
        }
        let weights = Weights(DictionaryWeights(tensors), dtype: dtype, device: device)
        do {
            let student = try ProjectedStudent(
                weights,
                config,
                latentChannels: sampling.latentChannels,
                lift: lift
            )
            try weights.finish()
            return student
        } catch {
            throw error.about(file)
        }
    }

    private static func tensors(
        _ file: String,
        under path: String
    ) throws(SwanError) -> [String: Tensor] {
        let opened = try SafetensorsFile(path: file)
        var tensors: [String: Tensor] = [:]
        for key in opened.keys { tensors["\(path).\(key)"] = try opened.tensor(key) }
        return tensors
    }

    private func readLift() throws(SwanError) -> Tensor {
        let file = path + "/" + Self.inputName
        guard FileIdentity.isTaken(file) else {
            throw SwanError(.invalidModel, "\(path): has no \(Self.inputName)")
        }
        let lift = try SafetensorsFile(path: file).tensor("weight")
        let shape = [sampling.latentChannels, config.channels]
        guard lift.shape == shape else {
            throw SwanError(
                .invalidModel,
                "\(file): weight is \(lift.shape), the student needs \(shape)"
            )
        }
        return lift
    }

    // MARK: - Writing

    /// Writes a student's weights, which are under the paths of `ProjectedStudent`, in float32, and
    /// at last its configuration, which says that it is complete.
    package static func write(
        _ weights: [String: Tensor],
        lift: Tensor?,
        _ config: LiteStudentConfig,
        _ sampling: StudentSampling,
        metadata: [String: String],
        to path: String
    ) throws {
        func part(_ name: String) throws -> [String: Tensor] {
            var found: [String: Tensor] = [:]
            for (key, tensor) in weights where key.hasPrefix(name + ".") {
                found[String(key.dropFirst(name.count + 1))] = try tensor.to(.cpu, .float32)
                    .contiguous()
            }
            return found
        }
        try Safetensors.write(
            part(ProjectedStudent.paths.student),
            metadata: metadata,
            to: path + "/" + weightNames[0]
        )
        let output = try part(ProjectedStudent.paths.output)
        if !output.isEmpty {
            try Safetensors.write(output, metadata: metadata, to: path + "/" + outputName)
        }
        if let lift {
            try Safetensors.write(
                ["weight": lift.to(.cpu, .float32).contiguous()],
                metadata: metadata,
                to: path + "/" + inputName
            )
        }
        var fields: [String: Any] = [
            "_class_name": "WanLiteStudent", "model_type": "WanLiteStudent",
            "text_max_length": 77, "projection_factor": 1.0,
        ]
        for data in [try JSONEncoder().encode(config), try JSONEncoder().encode(sampling)] {
            let plain = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
            fields.merge(plain) { _, new in new }
        }
        let json = try JSONSerialization.data(
            withJSONObject: fields,
            options: [.prettyPrinted, .sortedKeys]
        )
        try OutputPath.write(json, to: path + "/" + configNames[0])
    }
}
