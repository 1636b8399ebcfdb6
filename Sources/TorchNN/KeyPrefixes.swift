import Foundation

/// The prefixes that wrappers of a model leave in the keys of its checkpoint.
enum KeyPrefixes {
    /// At the start of all keys in some files: from ComfyUI, training wrappers and data
    /// parallelism.
    private static let leading = [
        "model.diffusion_model.", "diffusion_model.", "model.", "module.",
    ]
    /// Anywhere in a key: from sharded training, activation checkpointing and compiled modules.
    private static let embedded = [
        "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.",
    ]

    private static let mostLeading = 8

    /// Keys that ComfyUI stores without the prefix of the weights.
    private static let bare: Set = ["scaled_fp8", "spiece_model"]

    /// Maps every key to its name without prefixes. A leading prefix is removed only if all keys
    /// have it.
    static func stripped(_ keys: some Collection<String>) -> [String: String] {
        var names = Dictionary(uniqueKeysWithValues: keys.map { ($0, $0) })
        for part in embedded {
            names = names.mapValues { $0.replacingOccurrences(of: part, with: "") }
        }
        // Wrappers can be nested, but only to a limited depth.
        for _ in 0..<mostLeading {
            let common = leading.first { prefix in
                !names.isEmpty
                    && names.values.allSatisfy {
                        $0.hasPrefix(prefix) && $0.count > prefix.count || bare.contains($0)
                    }
                    && names.values.contains { $0.hasPrefix(prefix) }
            }
            guard let prefix = common else { break }
            names = names.mapValues {
                $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : $0
            }
        }
        return names
    }
}
