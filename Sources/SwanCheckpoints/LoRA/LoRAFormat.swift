import Foundation
import SwanSystem
package import Torch
import TorchNN

/// The naming scheme of a LoRA's file.
package enum LoRAFormat: String, Sendable, CaseIterable, Codable {
    /// diffusers and PEFT: `transformer.blocks.0.attn1.to_q.lora_A.weight`, with alpha in the
    /// metadata.
    case peft
    /// ComfyUI: `diffusion_model.blocks.0.self_attn.q.lora_down.weight` and `.alpha`.
    case comfyUI = "comfyui"
    /// musubi-tuner: `lora_unet_blocks_0_self_attn_q.lora_down.weight` and `.alpha`.
    case musubi

    /// The name of a module, given Wan's.
    func name(_ module: String) -> String {
        switch self {
        case .peft: "transformer." + TransformerModuleNames.diffusers(module)
        case .comfyUI: "diffusion_model." + module
        case .musubi: "lora_unet_" + module.replacing(".", with: "_")
        }
    }

    /// Whether a module has a key for its alpha.
    func hasAlpha(_ module: String) -> Bool {
        self != .peft && (module.hasPrefix("blocks.") || module.hasPrefix("vace_blocks."))
    }

    var down: String { self == .peft ? "lora_A" : "lora_down" }
    var up: String { self == .peft ? "lora_B" : "lora_up" }
}

extension LoRALayers {
    /// Writes leaves as a file that this project, diffusers, ComfyUI and musubi-tuner read.
    ///
    /// diffusers reads alphas of blocks alone; elsewhere, the scale is multiplied into B.
    ///
    /// - Parameters:
    ///   - dtype: The dtype of the matrices.
    ///   - metadata: Further text to write.
    package func write(
        _ leaves: [String: Tensor],
        as format: LoRAFormat,
        _ dtype: DType = .float32,
        metadata: [String: String] = [:],
        to path: String
    ) throws {
        var tensors: [String: Tensor] = [:]
        for layer in layers {
            guard let down = leaves[layer.down], let up = leaves[layer.up] else {
                throw SwanError(.invalidWeights, "there are no leaves for \(layer.module)")
            }
            let name = format.name(layer.module)
            let isScaled = format.hasAlpha(layer.module)
            let scale = isScaled || format == .peft ? 1 : alpha / Double(rank)
            tensors["\(name).\(format.down).weight"] = try down.stored(as: dtype)
            tensors["\(name).\(format.up).weight"] = try (up.detached() * scale).stored(as: dtype)
            if isScaled { tensors[name + ".alpha"] = try Tensor([Float(alpha)], []) }
        }
        var metadata = metadata
        metadata["format"] = "pt"
        switch format {
        case .peft: metadata[LoRASettings.metadataKey] = try peftSettings()
        case .comfyUI, .musubi:
            // The names of kohya's trainers, which other programs show.
            metadata["ss_network_module"] = "networks.lora_wan"
            metadata["ss_network_dim"] = String(rank)
            metadata["ss_network_alpha"] = String(alpha)
        }
        try Safetensors.write(tensors, metadata: metadata, to: path)
    }

    /// The LoRA's settings as diffusers writes them into a file's metadata.
    private func peftSettings() throws -> String {
        let targets = Set(layers.map { TransformerModuleNames.diffusers($0.module) }).sorted()
        let data = try JSONSerialization.data(
            withJSONObject: [
                "transformer.lora_alpha": alpha, "transformer.r": rank,
                "transformer.target_modules": targets, "transformer.lora_bias": false,
                "transformer.use_dora": false, "transformer.use_rslora": false,
            ],
            options: [.sortedKeys]
        )
        return String(decoding: data, as: UTF8.self)
    }
}

extension Tensor {
    fileprivate func stored(as dtype: DType) throws(SwanError) -> Tensor {
        try detached().to(.cpu, dtype).contiguous()
    }
}
