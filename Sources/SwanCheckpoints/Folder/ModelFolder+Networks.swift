import SwanModels
package import Torch
package import TorchNN
package import SwanSystem

extension ModelFolder {
    /// Builds a network that converts its weights immediately. Every key must match, and every value
    /// that the network reads must be finite.
    ///
    /// - Parameter loras: What is applied to the weights.
    package func loadVerified<Network>(
        of files: Files,
        _ dtype: DType,
        _ device: Device,
        loras: LoRASet = LoRASet(),
        _ build: (Weights) throws(SwanError) -> Network
    ) throws(SwanError) -> Network {
        let weights = FiniteWeights(try loras.applied(to: weights(of: files)))
        let network = try files.network(weights, dtype, device, keepsStorage: false, build)
        if !weights.areFinite {
            // The file's own names say more than those of the network.
            try checkpoint(files).requireFinite()
            try weights.requireFinite(files.data)
        }
        return network
    }
}

extension ModelFolder.Files {
    /// Builds the network of a part from its weights in Wan's names. Every key must match.
    ///
    /// - Parameters:
    ///   - keepsStorage: Whether matrices stay in their files and are converted on each use.
    ///   - late: Whether blocks are read from disk on each use instead of being kept in memory.
    ///   - isUnused: Returns whether a key is known to be unused.
    package func network<Network>(
        _ source: any WeightSource,
        _ dtype: DType,
        _ device: Device,
        keepsStorage: Bool = true,
        late: Bool = false,
        ignoring isUnused: (String) -> Bool = { _ in false },
        _ build: (Weights) throws(SwanError) -> Network
    ) throws(SwanError) -> Network {
        let weights = Weights(
            source,
            dtype: dtype,
            device: device,
            keepsStorage: keepsStorage,
            readsLayersLate: late
        )
        do {
            let network = try build(weights)
            try weights.finish(ignoring: isUnused)
            return network
        } catch {
            // If an operator rejects a weight as an argument, the weights are invalid.
            let code = error.code == .invalidArgument ? .invalidWeights : error.code
            throw SwanError(code, error.message).about(data)
        }
    }
}
