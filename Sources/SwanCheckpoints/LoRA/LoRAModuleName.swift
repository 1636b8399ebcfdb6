import SwanSystem

/// The name of a module that a LoRA changes, in whatever way a trainer spells it.
///
/// A name begins where a Wan transformer's does (`blocks.0`, `head`, …), so that any prefix is
/// understood: `diffusion_model.`, `base_model.model.`, `pipe.dit.`, `lora_unet_`, `lycoris_`, and
/// those of trainers to come. Dots may be underscores.
struct LoRAModuleName {
    /// Whose module it is.
    enum Owner: Equatable {
        /// A transformer, or the one for high noise of two.
        case transformer
        /// The second transformer of models that have two.
        case lowNoiseTransformer
        /// Another network of a pipeline, such as the text encoder.
        case other
    }

    /// Wan's name if it is known; otherwise as it is spelled.
    let module: String
    let owner: Owner
    /// Whether the name is one of a Wan transformer's.
    let isKnown: Bool

    private static let lists: Set<Substring> = ["blocks", "vace_blocks"]
    private static let roots: Set<Substring> = [
        "patch_embedding", "vace_patch_embedding", "text_embedding", "time_embedding",
        "time_projection", "img_emb", "head", "condition_embedder", "proj_out",
        "scale_shift_table",
    ]

    init(_ parts: ArraySlice<Substring>) {
        let start = parts.indices.first { index in
            guard Self.lists.contains(parts[index]) else {
                return Self.roots.contains(parts[index])
            }
            return index + 1 < parts.endIndex && Int(parts[index + 1]) != nil
        }
        if let start {
            owner = Self.owner(parts[..<start])
            module = Self.dotted(parts[start...].joined(separator: "."))
            isKnown = true
        } else if let last = parts.last, let (prefix, name) = Self.flat(last) {
            owner = Self.owner(parts.dropLast() + [prefix])
            module = name
            isKnown = true
        } else {
            owner = Self.owner(parts)
            module = parts.joined(separator: ".")
            isKnown = false
        }
    }

    // MARK: - Prefixes

    private static let lowNoise: Set<Substring> = [
        "transformer_2", "dit2", "low_noise_model", "low_noise", "lora_transformer_2",
    ]
    private static let otherWords: Set<Substring> = [
        "te", "te1", "te2", "te3", "t5", "t5xxl", "umt5", "umt5xxl", "clip", "vae", "controlnet",
    ]

    private static func owner(_ prefix: some Sequence<Substring>) -> Owner {
        var owner = Owner.transformer
        for part in prefix {
            let words = part.split(separator: "_")
            let isOther =
                words.contains { otherWords.contains($0) } || part.contains("text_encoder")
                || part.contains("text_model") || part.contains("image_encoder")
            if isOther { return .other }
            if lowNoise.contains(part) { owner = .lowNoiseTransformer }
        }
        return owner
    }

    // MARK: - Names with dots

    /// Other spellings of a block's modules, after diffusers' have been translated.
    private static let others: [(String, String)] = [
        ("self_attn.to_out", "self_attn.o"), ("cross_attn.to_out", "cross_attn.o"),
        ("to_q", "self_attn.q"), ("to_k", "self_attn.k"), ("to_v", "self_attn.v"),
        ("to_out", "self_attn.o"), ("ffn.fc_in", "ffn.0"), ("ffn.fc_out", "ffn.2"),
    ]

    /// Wan's name of a module.
    private static func dotted(_ path: String) -> String {
        let name = TransformerModuleNames.original(path)
        let parts = name.split(separator: ".", maxSplits: 2)
        guard parts.count == 3, lists.contains(parts[0]),
            let own = others.first(where: { $0.0 == parts[2] })?.1
        else { return name }
        return "\(parts[0]).\(parts[1]).\(own)"
    }

    // MARK: - Names with underscores

    /// Lists of blocks in other models, and what is before `transformer_blocks` in them.
    private static let otherLists: Set<Substring> = ["double", "single", "down", "up", "mid"]

    /// Wan's name of a module whose dots are underscores, and what is before it.
    private static func flat(_ name: Substring) -> (prefix: Substring, module: String)? {
        let words = name.split(separator: "_", omittingEmptySubsequences: false)
        let list = words.indices.first { index in
            words[index] == "blocks" && index + 1 < words.endIndex && Int(words[index + 1]) != nil
        }
        if let list {
            let isVACE = list > 0 && words[list - 1] == "vace"
            let prefix = words[..<(isVACE ? list - 1 : list)]
            // `lora_transformer` is a prefix, but `transformer_blocks` is a list of other models.
            let isOther =
                prefix.last.map { otherLists.contains($0) } ?? false
                || prefix.last == "transformer" && prefix.dropLast() != ["lora"]
            guard !isOther else { return nil }
            let block = "\(isVACE ? "vace_" : "")blocks.\(words[list + 1])"
            let rest = words[(list + 2)...].joined(separator: "_")
            let own = rest.isEmpty ? "" : "." + (blockModules[rest] ?? rest)
            return (Substring(prefix.joined(separator: "_")), block + own)
        }
        for (flat, own) in rootModules where name == flat || name.hasSuffix("_" + flat) {
            return (name.dropLast(flat.count), own)
        }
        return nil
    }

    private static let blockModules: [String: String] = {
        var names = ["ffn.0", "ffn.2", "before_proj", "after_proj", "norm3"]
        for attention in ["self_attn", "cross_attn"] {
            for part in ["q", "k", "v", "o", "k_img", "v_img", "norm_q", "norm_k", "norm_k_img"] {
                names.append("\(attention).\(part)")
            }
        }
        var found: [String: String] = [:]
        for (spelling, name) in others { found[spelling.replacing(".", with: "_")] = name }
        for (spelling, name) in spellings(names, prefix: "blocks.0.") { found[spelling] = name }
        return found
    }()

    /// Longer names come first: one may end as another does.
    private static let rootModules: [(flat: String, own: String)] = spellings(
        [
            "time_embedding.0", "time_embedding.2", "time_projection.1", "text_embedding.0",
            "text_embedding.2", "img_emb.proj.0", "img_emb.proj.1", "img_emb.proj.3",
            "img_emb.proj.4", "head.head", "patch_embedding", "vace_patch_embedding",
        ],
        prefix: ""
    ).sorted { ($0.0.count, $0.0) > ($1.0.count, $1.0) }.map { (flat: $0.0, own: $0.1) }

    /// Wan's names, by Wan's and diffusers' with underscores.
    private static func spellings(_ names: [String], prefix: String) -> [(String, String)] {
        names.flatMap { name in
            let other = TransformerModuleNames.diffusers(prefix + name).dropFirst(prefix.count)
            return Set([name, String(other)]).map { ($0.replacing(".", with: "_"), name) }
        }
    }
}
