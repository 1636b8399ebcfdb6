import SwanModels
package import Torch
package import TorchNN
package import SwanSystem

extension ModelFolder {
    /// Builds a network that converts its weights at once; every key must fit, every number be finite.
    package func finiteNetwork<Network>(
        of files: Files,
        _ dtype: DType,
        _ device: Device,
        _ build: (Weights) throws(SwanError) -> Network
    ) throws(SwanError) -> Network {
        try checkpoint(files.data).requireFinite()
        return try files.network(weights(of: files), dtype, device, keepsStorage: false, build)
    }
}

extension ModelFolder.Files {
    /// Builds the network of a part from its weights in Wan's names; every key must fit.
    ///
    /// - Parameters:
    ///   - keepsStorage: whether matrices stay in their files and are converted whenever they are used.
    ///   - late: whether blocks are read each time their turn comes, instead of held.
    ///   - isUnused: whether a key is known to be of no use.
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
            // What an operator refuses of weights is the weights' fault.
            let code = error.code == .invalidArgument ? .invalidWeights : error.code
            throw SwanError(code, error.message).about(data)
        }
    }
}
